"""``python -m tests.peers``: eight situations, four tools, one table in Markdown.

Installs the peers and cronguard into a throw-away environment (see `tests.peers.environment`), and
runs `tests.peers.jobs` against a sink on loopback. Takes some minutes.
"""

# ruff: noqa: T201  # printing is what this is for

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.peers import environment
from tests.peers.sink import Sink

TOOLS = ("cronguard", "cronwatch", "sentry", "cronitor")
LOCAL = TOOLS[:2]
"""Those that decide themselves when to alert; the others report to a service, which does."""
HERE = Path(__file__).parent
PERSON = "Ingrid Solberg, +47 912 34 567"
"""Comes from outside, as a person's data does: what is written into the code is told."""
PRIVATE = ("Ingrid", "Solberg", "912 34 567")
TRIALS = 20
CLAIMED = {"cronguard": 11, "cronwatch": 305}
"""Seconds after which an alert that was on its way may be sent by somebody else."""


class Bench:
    def __init__(self, python, folder):
        self.python, self.folder, self.stores = python, folder, 0

    def store(self):
        self.stores += 1
        return self.folder / f"{self.stores}.db"

    def start(self, tool, how, store, sink):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRONGUARD_")}
        environment |= {"STORE": str(store), "SINK": sink, "HOME": str(self.folder)}
        environment["PERSON"] = PERSON
        return subprocess.Popen(
            [self.python, HERE / "jobs.py", tool, how],
            env=environment,
            cwd=self.folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, tool, how, store, sink, patience=150):
        """(standard output, exit status or None for never, seconds)."""
        process, begun = self.start(tool, how, store, sink), time.monotonic()
        try:
            out, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0], None, time.monotonic() - begun
        return out, process.returncode, time.monotonic() - begun


def private(bench, tool):
    """A failing job's message names a person: does the name leave the process?"""
    with Sink() as sink:
        store = bench.store()
        for _ in range(2):
            bench.run(tool, "fail", store, sink.url)
        found = [word for word in PRIVATE if word in sink.text()]
        if not _failures(tool, sink.seen):
            return "nothing arrived"
        return f"yes ({len(found)} of 3 values)" if found else "no"


def unreachable(bench, tool):
    """Nothing can be recorded (no service; no place for the database): does the job run?"""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        blocked = bench.folder / "file"
        blocked.touch()
        out, code, seconds = bench.run(tool, "ok", blocked / "x.db", address)
    return f"{'yes' if 'body' in out else 'no'}, exit {code}, {seconds:.1f} s"


def drip(bench, tool):
    """The endpoint drips a header for ever: when has a failing job's process ended?"""
    with Sink() as fine, Sink("drip") as dripping:
        store = bench.store()
        bench.run(tool, "fail", store, fine.url)
        _, code, seconds = bench.run(tool, "fail", store, dripping.url)
        if not dripping.arrived.is_set():
            return "nothing was sent"
    return "not within 150 s" if code is None else f"after {seconds:.1f} s"


def killed(bench, tool):
    """Killed (SIGKILL) in two runs one after the other: what has the third start said?"""
    with Sink() as sink:
        store = bench.store()
        for _ in range(2):
            process = bench.start(tool, "hang", store, sink.url)
            process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            process.communicate()
        before = len(sink.seen)
        bench.run(tool, "check", store, sink.url)
        return _alerts(tool, sink.seen[before:]) or "nothing yet"


def lost(bench, tool):
    """Killed while the alert was on its way: does it arrive with the next run?"""
    with Sink() as fine, Sink("hang") as hanging:
        store = bench.store()
        bench.run(tool, "fail", store, fine.url)
        hanging.arrived.clear()
        process = bench.start(tool, "fail", store, hanging.url)
        if tool in LOCAL:
            hanging.arrived.wait(30)
        else:
            process.stdout.readline()
            time.sleep(1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(CLAIMED.get(tool, 0))
        before = len(fine.seen)
        bench.run(tool, "check", store, fine.url)
        return _alerts(tool, fine.seen[before:]) or "no"


def together(bench, tool):
    """Two processes fail at the same moment, threshold 2: how many alerts?"""
    if tool not in LOCAL:
        return "the service decides"
    counts = []
    for _ in range(TRIALS):
        with Sink() as sink:
            store = bench.store()
            bench.run(tool, "ok", store, sink.url)
            pair = [bench.start(tool, "together", store, sink.url) for _ in range(2)]
            for process in pair:
                process.stdout.readline()
            for process in pair:
                process.stdin.close()
                process.stdin = None
            for process in pair:
                process.communicate()
            counts.append(len(sink.seen))
    return f"exactly one in {counts.count(1)} of {TRIALS}"


def overlap(bench, tool):
    """A second start while the first is still running: does the body run twice?"""
    with Sink() as sink:
        store = bench.store()
        first = bench.start(tool, "linger", store, sink.url)
        first.stdout.readline()
        out, _, _ = bench.run(tool, "linger", store, sink.url)
        first.communicate()
    return "yes" if "body" in out else "no, skipped"


def asynchronous(bench, tool):
    """An ``async def`` job fails: is it reported as failed?"""
    with Sink() as sink:
        store = bench.store()
        for _ in range(2):
            bench.run(tool, "async", store, sink.url)
        return "yes" if _failures(tool, sink.seen) else "no, as complete"


SITUATIONS = (private, unreachable, drip, killed, lost, together, overlap, asynchronous)


def _alerts(tool, seen):
    """What the far end was told of failures, in a few words."""
    return ", ".join(_failures(tool, seen))


def _failures(tool, seen):
    if tool == "cronguard":
        facts = [json.loads(text.split(" ", 1)[1]) for text in seen]
        return [f"{each['kind']}, {each['error_type']}" for each in facts]
    if tool == "cronwatch":
        facts = [json.loads(text.split(" ", 1)[1]) for text in seen]
        return [each["title"] for each in facts]
    if tool == "sentry":
        return [s for text in seen for s in re.findall(r'"status": ?"(error)"', text)]
    return [s for text in seen for s in re.findall(r"state=(fail)\b", text)]


def main(chosen):
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        folder = Path(scratch)
        bench = Bench(environment.make(folder / "venv"), folder)
        print(f"| situation | {' | '.join(TOOLS)} |\n|---|{'---|' * len(TOOLS)}")
        for situation in SITUATIONS:
            if not chosen or situation.__name__ in chosen:
                answers = [situation(bench, tool) for tool in TOOLS]
                question = " ".join((situation.__doc__ or "").split())
                print(f"| {question} | {' | '.join(answers)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
