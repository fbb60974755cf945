"""Whole processes, as cron starts them, and what a process that only imports or asks pays."""

import shutil
import subprocess
from pathlib import Path

from tests.benchmark import table
from tests.benchmark.bench import HERE
from tests.benchmark.turns import Comparison, compare, process, take_turns
from tests.peers import environment
from tests.support.debian import program

STRACE = ("-f", "-qq", "-e", "trace=fdatasync,fsync")

OURS = """
from cronguard import cron_guarded

@cron_guarded
def nightly(): pass

nightly()
"""
BY_HAND = """
import {modules}
import by_hand_sqlite

db = by_hand_sqlite.connect({store!r})
by_hand_sqlite.run(db, "nightly", lambda: None)
db.close()
"""
SENTRY = """
import sentry_sdk

sentry_sdk.init({dsn!r})

@sentry_sdk.monitor(monitor_slug="nightly")
def nightly(): pass

nightly()
"""
CLICK = """
import click

@click.group()
@click.version_option("1")
def main(): pass

main()
"""
LOADED = """
import sys

def loaded():
    return {name for name in list(sys.modules) if name.partition(".")[0] in sys.stdlib_module_names}

bare = loaded()
"""


class Scripts:
    """Scripts in a folder, run by the environment's interpreter."""

    def __init__(self, bench):
        self.bench = bench
        self.folder = bench.folder / "scripts"
        self.folder.mkdir(exist_ok=True)
        shutil.copy(HERE / "by_hand_sqlite.py", self.folder)
        self.environ = {**bench.environ, "CRONGUARD_STORE": f"sqlite:///{bench.log()}"}

    def command(self, name, text):
        """The command that runs this script."""
        path = self.folder / f"run_{name}.py"
        path.write_text(text, encoding="utf-8")
        return [self.bench.python, str(path)]

    def side(self, name, text, *arguments):
        """A process of it from start to end, as a side of a comparison."""
        return process([*self.command(name, text), *arguments], env=self.environ)

    def lines(self, name, text):
        """What it prints."""
        command = self.command(name, text)
        done = subprocess.run(
            command, env=self.environ, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.split()

    def by_hand(self, modules):
        """The script that writes a run's rows, and imports those modules besides."""
        return BY_HAND.format(modules=", ".join(modules), store=str(self.bench.log()))


def processes(bench):
    """A process with one guarded run, against a script that imports the same standard modules.

    wrapt's own import is taken off, as what it adds to the script: first with the standard modules
    that only wrapt loads in both, then, which is stricter, in neither.
    """
    scripts = Scripts(bench)
    wrapts = scripts.lines("wrapt", f"{LOADED}\nimport wrapt\nprint(*sorted(loaded() - bare))")
    modules = scripts.lines("asked", f"{LOADED}\n{OURS}\nprint(*sorted(loaded() - bare))")
    ours = scripts.side("ours", OURS)
    others = [each for each in modules if each not in wrapts]
    for name, shared, promised in (
        ("one-run process / by hand", modules, "at most 1.25"),
        ("… without wrapt's standard modules", others, ""),
    ):
        by_hand = scripts.side("by_hand", scripts.by_hand(shared))
        with_wrapt = scripts.side("with_wrapt", scripts.by_hand([*shared, "wrapt"]))
        rounds = take_turns((ours, by_hand, with_wrapt), bench.rounds)
        pairs = [(one.less(more.less(less)), less) for one, less, more in rounds]
        table.row(name, Comparison(pairs), promised, unit="ms")
    dsn = f"{bench.sink.url}/1".replace("//", "//key@")
    found = compare(ours, scripts.side("sentry", SENTRY.format(dsn=dsn)), bench.rounds)
    table.row("one-run process / sentry-sdk's", found, "below 1", unit="ms")


def command_line(bench):
    """What ``import cronguard`` and ``cronguard --version`` take."""
    scripts = Scripts(bench)
    found = compare(
        scripts.side("imports", "import cronguard"), scripts.side("bare", "pass"), bench.rounds
    )
    table.row("import cronguard / bare interpreter", found, "25 ms more", unit="ms")
    asks = process([Path(bench.python).with_name("cronguard"), "--version"], env=bench.environ)
    found = compare(asks, scripts.side("click", CLICK, "--version"), bench.rounds)
    table.row("cronguard --version / bare click program", found, "at most 1.2", unit="ms")


def syncs(bench):
    """How often a one-run process makes the disk write."""
    scripts = Scripts(bench)
    counts = []
    for name, text in (("ours", OURS), ("by_hand", scripts.by_hand(["sqlite3"]))):
        command = [*STRACE, *scripts.command(name, text)]
        done = subprocess.run(
            [program("strace"), *command], env=scripts.environ, check=True, capture_output=True
        )
        counts.append(done.stderr.count(b"sync("))
    table.count("fdatasync calls of a one-run process / by hand", *counts, "equal")


def installed(bench):
    """What installing cronguard without extras brings."""
    folder = bench.folder / "base"
    environment.pip(bench.python, "--target", folder, environment.ROOT)
    packages = len(list(folder.glob("*.dist-info")))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    table.count("base install", f"{packages} packages, {size / 1e6:.1f} MB", "", "12, 10 MB")
