"""Make an entry's change in a copy, run the tests that it names, and say whether they are red."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .copies import ROOT, Copy, CopyError, make_copy

RED, GREEN, ERROR = "red", "green", "error"
_FAILED, _INTERRUPTED, _MISCALLED = 1, 2, 4
_ENDINGS = {
    _INTERRUPTED: "tests could not be collected",
    3: "pytest had an internal error",
    _MISCALLED: "a test that is named does not exist",
    5: "no test was collected",
}
_OPTIONS = (
    *("-q", "--tb=no", "--color=no", "-rpfE", "-p", "no:cacheprovider", "-p", "no:randomly"),
    *("-m", "not soak"),  # whatever else a short run leaves out
)
_LINE = re.compile(r"(PASSED|FAILED|ERROR) (\S+\.py(?:::.*)?)")
_GRACE = 10.0
"""Seconds for pytest to end its fixtures when it is told to stop."""


@dataclass(frozen=True)
class Change:
    """A text that stands once in a file, and what takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Entry:
    """A promise as it is broken, the changes that break it, and the tests that must go red."""

    broken: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    """Node ids as pytest takes them; of each at least one test must fail."""

    @property
    def name(self) -> str:
        """How it is called in messages: its first file, and what is wrong there."""
        file = self.changes[0].file.removeprefix("cronguard/")
        return f"{file}: {self.broken}"


@dataclass(frozen=True)
class Verdict:
    """What became of an entry."""

    state: str
    reason: str
    seconds: float = 0.0
    red: tuple[str, ...] = ()
    """The node ids of the tests that failed."""


@dataclass
class Outcome:
    """What pytest said: its exit code, None for a run that was stopped, and each test's end."""

    code: int | None
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    output: str = ""

    def ended(self, test: str, ends: Iterable[str]) -> list[str]:
        """Return those of these ends that belong to a node id: it, or what is below it."""
        return [end for end in ends if end == test or end.startswith((f"{test}::", f"{test}["))]


class NotAppliedError(Exception):
    """A change whose old text is not there exactly once."""


def apply(changes: Sequence[Change], root: Path) -> None:
    """Make the changes in a checkout; raise `NotAppliedError` where one does not fit."""
    for change in changes:
        path = root / change.file
        if not path.is_file():
            raise NotAppliedError(f"there is no file {change.file}")
        text = path.read_text(encoding="utf-8")
        found = text.count(change.old)
        if found != 1:
            shown = change.old.strip().splitlines()[0]
            raise NotAppliedError(f"{change.file} has this {found} times, not once: {shown}")
        path.write_text(text.replace(change.old, change.new), encoding="utf-8")


def judge(tests: Sequence[str], outcome: Outcome) -> tuple[str, str]:
    """Return what a broken copy's outcome means, and why, in a few words."""
    failed, errors = outcome.failed, outcome.errors
    if outcome.code is None:
        return ERROR, "it took too long"
    if outcome.code == 0:
        return GREEN, f"all {len(outcome.passed)} tests passed"
    if outcome.code == _MISCALLED and errors:  # it is named in a file that cannot be read
        return ERROR, _ENDINGS[_INTERRUPTED]
    if outcome.code != _FAILED:
        return ERROR, _ENDINGS.get(outcome.code, f"pytest ended with {outcome.code}")
    missing = [test for test in tests if not outcome.ended(test, failed)]
    if missing and errors and not failed:
        return ERROR, f"no test failed, but {len(errors)} could not be set up or torn down"
    if missing:
        return GREEN, f"nothing failed of {', '.join(missing)}"
    return RED, f"{len(failed)} of {len(failed) + len(outcome.passed)} failed"


class Runner:
    """Runs entries, several at a time, each in a copy of its own below ``folder``."""

    def __init__(self, folder: Path, *, limit: float = 180.0, root: Path = ROOT):
        self.folder, self.limit, self.root = folder, limit, root
        self._processes: set[subprocess.Popen] = set()
        self._stopped = threading.Event()
        self._copies = 0
        self._lock = threading.Lock()

    def break_and_test(self, entry: Entry) -> Verdict:
        """Make an entry's changes in a copy and run its tests there."""
        begun = time.monotonic()
        try:
            copy = self._copy()
        except CopyError as error:
            return Verdict(ERROR, str(error))
        try:
            apply(entry.changes, copy.checkout)
            outcome = self.test(copy, entry.tests, self.limit)
        except NotAppliedError as error:
            return Verdict(ERROR, str(error), time.monotonic() - begun)
        finally:
            copy.remove()
        state, reason = judge(entry.tests, outcome)
        return Verdict(state, reason, time.monotonic() - begun, tuple(outcome.failed))

    def test_unbroken(self, tests: Sequence[str], jobs: int) -> Outcome:
        """Run tests in a copy without any change, so that what is red there proves nothing."""
        copy = self._copy()
        try:
            return self.test(copy, tests, len(tests) * self.limit, "-n", str(jobs))
        finally:
            copy.remove()

    def test(self, copy: Copy, tests: Sequence[str], limit: float, *options: str) -> Outcome:
        """Run tests in a copy, for so many seconds at most."""
        said = copy.folder / "said"
        base = ["--basetemp", str(copy.folder / "b")]
        command = [copy.python, "-m", "pytest", *_OPTIONS, *base, *options, *tests]
        with said.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=copy.checkout,
                env=copy.environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with self._lock:
            self._processes.add(process)
        if self._stopped.is_set():
            _end(process)
        code = None
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            _end(process)
        finally:
            with self._lock:
                self._processes.discard(process)
            _kill_group(process)  # what tests have left behind
        return read_outcome(code, said.read_text(encoding="utf-8", errors="replace"))

    def stop(self) -> None:
        """End what is running, and begin nothing more."""
        self._stopped.set()
        with self._lock:
            running = list(self._processes)
        for process in running:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process in running:
            _end(process)

    def _copy(self) -> Copy:
        if self._stopped.is_set():
            raise CopyError("stopped")
        with self._lock:
            self._copies += 1
            folder = self.folder / str(self._copies)
        folder.mkdir()
        try:
            return make_copy(folder, self.root)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def read_outcome(code: int | None, output: str) -> Outcome:
    """Read the short summary that pytest ends with."""
    outcome = Outcome(code, output=output)
    ends = {"PASSED": outcome.passed, "FAILED": outcome.failed, "ERROR": outcome.errors}
    for line in output.splitlines():
        if found := _LINE.match(line):
            ends[found[1]].append(found[2].partition(" - ")[0])
    return outcome


def _end(process: subprocess.Popen) -> None:
    """Let pytest end its fixtures, then leave nothing of its group."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    _kill_group(process)
    process.wait()


def _kill_group(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
