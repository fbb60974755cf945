"""``python -m tests.broken``: break each promise in a copy, and expect the tests named to go red.

Prints a line an entry. Exits 0 only if all of them are red; the working tree is left as it is.
"""

# ruff: noqa: T201  # printing is what this is for

import argparse
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from .copies import CopyError
from .entries import ENTRIES
from .runner import ERROR, RED, Runner, Verdict


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.broken", description=__doc__)
    parser.add_argument("-j", "--jobs", type=int, default=2, help="entries at a time [2]")
    parser.add_argument("-k", "--word", help="only entries whose text, files or tests hold this")
    parser.add_argument("-l", "--list", action="store_true", help="list them, and do nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="name the tests that are red")
    parser.add_argument("--limit", type=float, default=180, help="seconds for an entry [180]")
    parser.add_argument(
        "--no-base", action="store_true", help="do not run the tests without a change first"
    )
    asked = parser.parse_args()
    chosen = [entry for entry in ENTRIES if asked.word is None or matches(entry, asked.word)]
    if not chosen:
        parser.error(f"no entry holds {asked.word}")
    if asked.list:
        for entry in chosen:
            print(entry.name, *entry.tests, sep="\n    ")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="brk-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # servers and some tests run as somebody else
        runner = Runner(Path(folder), limit=asked.limit)
        try:
            verdicts = run(runner, chosen, asked)
        except KeyboardInterrupt:
            runner.stop()
            print("\nstopped", file=sys.stderr)
            return 130
        except CopyError as error:
            print(error, file=sys.stderr)
            return 2
    proven = sum(verdict.state == RED for verdict in verdicts)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"{proven} of {len(chosen)} red, in {minutes} min {seconds} s")
    return 0 if proven == len(chosen) else 1


def matches(entry, word):
    """Whether a word is anywhere in an entry, whatever its case."""
    texts = (entry.name, *(change.file for change in entry.changes), *entry.tests)
    return any(word.lower() in text.lower() for text in texts)


def run(runner, entries, asked):
    """The verdicts on entries, told as they come; the executor is left before anything else is."""
    unproven = {} if asked.no_base else red_before(runner, entries, asked)
    verdicts = []
    with ThreadPoolExecutor(asked.jobs) as executor:
        try:
            futures = {executor.submit(runner.break_and_test, entry): entry for entry in entries}
            for future in as_completed(futures):
                entry, verdict = futures[future], future.result()
                if entry in unproven:
                    verdict = Verdict(ERROR, unproven[entry], verdict.seconds, verdict.red)
                verdicts.append(verdict)
                tell(f"{len(verdicts):>3}/{len(entries)}", entry, verdict, verbose=asked.verbose)
        except KeyboardInterrupt:
            executor.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            raise
    return verdicts


def red_before(runner, entries, asked):
    """Entry → what is wrong with its tests already where nothing has been changed."""
    begun = time.monotonic()
    tests = sorted({test for entry in entries for test in entry.tests})
    outcome = runner.test_unbroken(tests, asked.jobs)
    good, bad = len(outcome.passed), [*outcome.failed, *outcome.errors]
    seconds = time.monotonic() - begun
    print(f"without a change: {good} green, {len(bad)} red, {seconds:.0f} s", flush=True)
    if outcome.code not in (0, 1):
        print(outcome.output, file=sys.stderr)
        raise CopyError("the tests cannot be run as they are")
    found = {}
    for entry in entries:
        for test in entry.tests:
            if red := outcome.ended(test, bad):
                found[entry] = f"red without any change: {red[0]}"
            elif not outcome.ended(test, outcome.passed):
                found[entry] = f"not run at all: {test}"
    return found


def tell(number, entry, verdict, *, verbose):
    """One line; more for one that is not red."""
    line = f"{number} {verdict.state:5} {verdict.seconds:5.0f} s  {entry.name}"
    print(f"{line}  ({verdict.reason})", flush=True)
    if verbose or verdict.state != RED:
        for test in verdict.red:
            print(f"        {test}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
