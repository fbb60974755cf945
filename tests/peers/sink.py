"""Where every tool's requests go: loopback, everything kept, well-behaved or not."""

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_plus


class Sink:
    """``mode``: ``ok``; ``hang`` accepts and never answers; ``drip`` sends a byte a second."""

    def __init__(self, mode="ok"):
        self.mode = mode
        self.seen = []
        self.arrived = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def text(self):
        return "\n".join(self.seen)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def _handler(sink):
    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if body[:2] == b"\x1f\x8b":
                body = gzip.decompress(body)
            sink.arrived.set()
            if sink.mode == "hang":
                time.sleep(120)
                return
            try:
                if sink.mode == "drip":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    for _ in range(120):
                        self.wfile.write(b"X-Slow: 1\r\n")
                        time.sleep(1)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")
            except OSError:
                return
            sink.seen.append(unquote_plus(self.path) + " " + body.decode(errors="replace"))

        do_GET = do_POST = answer  # noqa: N815  # the base class's names

        def log_message(self, *_):
            pass

    return Handler
