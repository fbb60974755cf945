"""A way to a server that can be cut, stopped or turned into a black hole: a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress


class Forwarder:
    """Forwards one loopback port, always the same, to another, while it is up."""

    def __init__(self, port):
        self.upstream = port
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None
        self.open()

    def open(self):
        """Forward, from now on."""
        command = [sys.executable, __file__, str(self.port), str(self.upstream)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def refuse(self):
        """Every connection is cut, and no new one taken."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        """The process is stopped: the kernel still takes connections, nobody answers."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # each of its threads has

    def swallow(self):
        """Connections are taken and read from, and never answered."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout.readline() == b"swallowing\n"

    def mend(self):
        """All is as it was, with new connections only."""
        self.close()
        self.open()

    def close(self):
        """Gone, whatever it was doing."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


def _main(port, upstream):
    swallowing = threading.Event()

    def swallow(_number, _frame):
        swallowing.set()
        os.write(1, b"swallowing\n")

    signal.signal(signal.SIGUSR1, swallow)
    listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
    os.write(1, b"ready\n")

    def pump(source, sink):
        try:
            while data := source.recv(65_536):
                if not swallowing.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            if not swallowing.is_set():
                for end in (source, sink):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", upstream))
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
