"""The text that a newcomer reads first is true: the files of a failing run, in their order."""

import json
import re
import subprocess
import sys

from support.imports import PACKAGE

import cronguard

TRACE = """
import json, os, sys, threading
import cronguard

root = os.path.dirname(cronguard.__file__) + os.sep
files = []

def note(frame, event, arg):
    path = frame.f_code.co_filename
    code = frame.f_code
    is_function = code.co_flags & 1 and not code.co_name.startswith("<")  # not a module or class
    ours = path.startswith(root) and threading.current_thread().name != "cronguard-watchdog"
    if event == "call" and is_function and ours:
        name = path[len(root):].replace(os.sep, "/")
        if name not in files:
            files.append(name)

threading.setprofile(note)
sys.setprofile(note)

@cronguard.cron_guarded(job="nightly", threshold=1)
def job():
    raise RuntimeError("the disk is full")

try:
    job()
except RuntimeError:
    pass
sys.setprofile(None)
for thread in threading.enumerate():
    if thread.name.startswith("cronguard-") and thread.name != "cronguard-watchdog":
        thread.join()
print(json.dumps(files))
"""


def traced(folder):
    """The files of cronguard that a failing run with an alert enters, in the order of its steps."""
    done = subprocess.run(
        [sys.executable, "-c", TRACE],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"XDG_STATE_HOME": str(folder), "HOME": str(folder)},
    )
    return json.loads(done.stdout)


def steps():
    """The numbered steps of the text, each the list of files that it names."""
    story = cronguard.__doc__.partition("top to bottom:")[2].partition("While a run goes on")[0]
    numbered = re.split(r"^ *\d+\. ", story, flags=re.MULTILINE)[1:]
    return [re.findall(r"``([\w/]+\.py)``", step) for step in numbered]


def test_the_files_of_a_failing_run_are_those_of_the_text(tmp_path):
    """Each is entered, and each step begins, with its first file, after the one above it."""
    entered = traced(tmp_path)
    told = steps()
    assert len(told) > 6
    assert all(told)
    assert [name for step in told for name in step if name not in entered] == []
    first = [entered.index(step[0]) for step in told]
    assert first == sorted(first)


def test_every_place_that_the_text_names_is_there():
    """Files and folders, wherever they are named."""
    named = re.findall(r"``([\w/]+/[\w.]+|\w+\.(?:py|toml))``", cronguard.__doc__)
    assert len(named) > 20
    root = PACKAGE.parent
    missing = [name for name in named if not any((at / name).exists() for at in (PACKAGE, root))]
    assert missing == []


def test_the_packages_of_the_text_are_those_of_the_house():
    """All of them, from the ground up, each with a word."""
    house = cronguard.__doc__.partition("Imports only go down.")[2].partition("The life")[0]
    named = re.findall(r"^    (\w+) {2,}\S", house, flags=re.MULTILINE)
    assert sorted(named) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
