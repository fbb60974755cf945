"""Programs on a terminal of their own, typed to and watched."""

import os
import pty
import re
import select
import subprocess
import time

from support.cli import PATIENCE

CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()].|\x1b[=>]|[\x00-\x09\x0b-\x1a\x7f]")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, environ, folder):
        self.said = ""
        self.master, own = pty.openpty()
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), own)
        # Not pty.fork(), which a process with threads is warned of.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command], env=environ, cwd=folder, **streams
        )
        os.close(own)

    def type(self, text):
        os.write(self.master, text.encode())

    def wait_for(self, text):
        """Fails, with what was there instead, unless ``text`` comes; drops what came."""
        give_up = time.monotonic() + PATIENCE
        while text not in self.said:
            left = give_up - time.monotonic()
            assert left > 0, repr(self.said)
            if select.select([self.master], [], [], left)[0]:
                data = os.read(self.master, 4096).decode(errors="replace")
                self.said = CONTROLS.sub("", self.said + data)
        self.said = self.said.partition(text)[2]

    def close(self):
        os.close(self.master)  # which hangs up on it
        self.process.wait(PATIENCE)
