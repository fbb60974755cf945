"""Another distribution brings a ``cronguard`` too: what becomes of ours, what ``doctor`` says."""

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import distributions
from support.cli import Here

from cronguard import __version__
from cronguard.cli.doctor import installed
from cronguard.core.install import DISTRIBUTION

ENOUGH = 120
THEIRS = {
    "cronguard/__init__.py": '__version__ = "4.2"\n',
    "cronguard/cli.py": "def app():\n    print('the other one')\n",
    "cronguard-4.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: cronguard\nVersion: 4.2\n",
    "cronguard-4.2.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "cronguard-4.2.dist-info/entry_points.txt": (
        "[console_scripts]\ncronguard = cronguard.cli:app\n"
    ),
}
"""A stand-in for the distribution of that name on the package index: the same files."""


# --- two wheels in one environment ----------------------------------------------------------------


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Ours, built from the checkout, and the stand-in."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(
        build, cwd=distributions.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (ours,) = folder.glob("*.whl")
    assert ours.name.startswith(f"cron_guarded-{__version__}-")
    theirs = folder / "cronguard-4.2-py3-none-any.whl"
    record = "cronguard-4.2.dist-info/RECORD"
    with zipfile.ZipFile(theirs, "w") as archive:
        for name, text in THEIRS.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in (*THEIRS, record)))
    return {"ours": ours, "theirs": theirs}


class Environment:
    """A throw-away environment: pip and what cronguard needs are lent, cronguard is not."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=find_spec("pip") is None)
        self.bin = folder / "venv" / "bin"
        (self.packages,) = (folder / "venv").glob("lib/python*/site-packages")
        lent = folder / "lent"
        lent.mkdir()
        for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for path in Path(place).iterdir():
                if "cron_guarded" not in path.name and not path.name.startswith("cronguard"):
                    (lent / path.name).symlink_to(path)
        (self.packages / "lent.pth").write_text(f"{lent}\n")

    def __call__(self, program, *arguments):
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CRONGUARD_STORE": f"sqlite:///{self.folder / 'runs.db'}",
        }
        return subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=ENOUGH,
            check=False,
        )

    def pip(self, *arguments):
        done = self("python", "-m", "pip", "--quiet", "--no-input", *arguments)
        assert done.returncode == 0, done.stderr

    def install(self, wheel, *options):
        self.pip("install", "--no-index", "--no-deps", "--no-compile", *options, str(wheel))

    def doctor(self):
        """(exit code, {status: [messages about what is installed]}), without the script."""
        done = self("python", "-m", "cronguard", "doctor", "--json")
        found = {}
        for check in json.loads(done.stdout)["checks"]:
            if check["check"] in ("cronguard", "installed"):
                found.setdefault(check["status"], []).append(check["message"])
        return done.returncode, found

    def job(self):
        """A job that is guarded as the README shows."""
        return self("python", "-c", "from cronguard import cron_guarded; print(cron_guarded)")


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


def mended(environment, wheels):
    """What doctor says to do is done, and it has nothing more to say."""
    environment.pip("uninstall", "--yes", "cronguard")
    code, found = environment.doctor()  # what both had is gone; what only ours had still speaks
    assert code == 1
    (said,) = found["error"]
    assert said.startswith("cronguard/__init__.py is missing, so no job can import cron_guarded: ")
    assert "see above" not in said
    assert set(found) == {"ok", "error"}
    environment.install(wheels["ours"], "--force-reinstall")
    code, found = environment.doctor()
    assert (code, set(found)) == (0, {"ok"})
    assert environment("cronguard", "--version").stdout == f"cronguard {__version__}\n"
    assert environment.job().returncode == 0


@pytest.mark.one_python
@pytest.mark.long
def test_ours_installed_over_the_other(environment, wheels):
    """Jobs and command are ours; doctor warns before an update of the other takes them."""
    environment.install(wheels["theirs"])
    environment.install(wheels["ours"])
    assert environment("cronguard", "--version").stdout == f"cronguard {__version__}\n"
    assert environment.job().returncode == 0
    code, found = environment.doctor()
    assert code == 0
    assert found["ok"][0].startswith(f"{__version__} on Python")
    (said,) = found["warning"]
    assert said == (
        f"cronguard 4.2 in {environment.packages} is not cronguard's, but brings files in"
        " cronguard/ and the command cronguard too: whichever of the two is installed or updated"
        " last overwrites the other, and jobs may stop. Remove it with"
        " python -m pip uninstall cronguard, which takes shared files along; then, in a checkout of"
        " cronguard, run python -m pip install --force-reinstall --no-deps ."
    )


@pytest.mark.one_python
@pytest.mark.long
def test_the_other_installed_over_ours(environment, wheels):
    """The command is theirs and jobs cannot import ours; ``python -m cronguard doctor`` says so."""
    environment.install(wheels["ours"])
    environment.install(wheels["theirs"])
    assert environment("cronguard", "doctor").returncode != 0
    assert "cannot import name 'cron_guarded'" in environment.job().stderr
    code, found = environment.doctor()
    assert code == 1
    assert found["ok"][0].startswith(f"{__version__} on Python")  # not theirs
    assert found["warning"][0].startswith(f"cronguard 4.2 in {environment.packages} is not ")
    (said,) = found["error"]
    assert said == (
        f"{environment.packages}/cronguard/__init__.py is not cronguard's own, so no job can import"
        " cron_guarded: remove what is not cronguard's (see above), then, in a checkout of"
        " cronguard, run python -m pip install --force-reinstall --no-deps ."
    )
    mended(environment, wheels)


# --- metadata of every kind -----------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    return Here(tmp_path / "here", monkeypatch, capsys)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages on this process's path: ``site("x", groups, RECORD=…)`` adds one."""
    installed._has_package.cache_clear()
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(str(folder))

    def add(name, groups=None, **files):
        distributions.write(folder, name, groups or {})
        info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
        for file, text in files.items():
            path = info / file.replace("_txt", ".txt")
            path.unlink() if text is None else path.write_bytes(text)
        importlib.invalidate_caches()
        return folder

    yield add
    installed._has_package.cache_clear()


def said(here):
    """What doctor says of what is installed."""
    checks = here.json("doctor")["checks"]
    return [(each["status"], each["message"]) for each in checks if each["check"] == "installed"]


def test_this_environment_has_nothing_to_say(here):
    """However cronguard is installed here, in place or from a wheel, it is not the other."""
    assert importlib.metadata.version(DISTRIBUTION) == __version__
    assert said(here) == []


@pytest.mark.parametrize(
    ("groups", "files", "brings"),
    [
        ({"console_scripts": {"cronguard": "tool:main"}}, {}, "the command cronguard"),
        ({}, {"RECORD": b"cronguard/__init__.py,,\n"}, "files in cronguard/"),
        ({}, {"RECORD": b"a.py,,\ncronguard/deep/x.py,sha256=x,1\n"}, "files in cronguard/"),
        ({}, {"RECORD": b"a.py,,\r\ncronguard.py,,\r\n"}, "files in cronguard/"),
        ({}, {"top_level_txt": b"tool\ncronguard\n"}, "files in cronguard/"),
    ],
)
def test_another_distribution_is_a_warning(here, site, groups, files, brings):
    """By its command, its list of files or its packages; the exit code stays 0."""
    folder = site("Watch.Dog", groups, **files)
    (folder / "cronguard").mkdir()
    ((status, message),) = said(here)
    assert status == "warning"
    assert message.startswith(f"Watch.Dog 1.2 in {folder} is not cronguard's, but brings {brings} ")
    assert "python -m pip uninstall Watch.Dog," in message


@pytest.mark.parametrize(
    ("name", "groups", "files"),
    [
        ("cron-guarded", {"console_scripts": {"cronguard": "cronguard.cli:main"}}, {}),
        ("Cron_Guarded", {}, {"RECORD": b"cronguard/__init__.py,,\n"}),
        ("cronguard-ntfy", {"cronguard.channels": {"ntfy": "ntfy_channel:NtfyChannel"}}, {}),
        ("dog", {"dog.plugins": {"cronguard": "dog:Plugin"}}, {}),
        ("dog", {"console_scripts": {"cronguard-dog": "dog:main"}}, {}),
        ("dog", {}, {"RECORD": b"cronguard_dog.py,,\ndog/cronguard/x.py,,\n"}),
        ("dog", {}, {"RECORD": b"cronguard/__init__.py,,\n", "METADATA": None}),
        ("dog", {}, {"RECORD": b"cronguard/__init__.py,,\n", "METADATA": b"Version: 1\n"}),
        ("dog", {}, {"RECORD": b"cronguard/\xff\xfe,,\n"}),
        ("dog", {}, {"entry_points_txt": b"cronguard\n[[[\n= : cronguard\n"}),
    ],
)
def test_others_are_let_be(here, site, name, groups, files):
    """Ours under any spelling, plugins, names that only begin alike, metadata that is damaged."""
    folder = site(name, groups, **files)
    (folder / "cronguard").mkdir()
    assert said(here) == []


def test_a_damaged_distribution_hides_no_other(here, site):
    """Nor does a name that would do something on a command line reach one."""
    folder = site("aaa", {}, RECORD=b"\xff", top_level_txt=b"\xff")
    site("dog", {}, top_level_txt=b"cronguard\n", METADATA=b"Name: x; rm -rf ~\nVersion: \x1b[2J\n")
    ((_, message),) = said(here)
    assert message.startswith(f"'x; rm -rf ~' '\\x1b[2J' in {folder} ")


def test_a_finder_that_breaks_stops_nothing(here, monkeypatch):
    """Somebody else's way to import may raise whatever it likes."""

    def explode():
        raise RuntimeError

    monkeypatch.setattr(installed, "distributions", explode)
    assert said(here) == []


def test_lists_of_files_are_read_only_where_files_can_be(site, monkeypatch):
    """They are the largest part of the metadata, and most folders have no ``cronguard``."""
    read = []
    real = importlib.metadata.PathDistribution.read_text

    def read_text(self, name):
        read.append((self.locate_file(""), name))
        return real(self, name)

    monkeypatch.setattr(importlib.metadata.PathDistribution, "read_text", read_text)
    folder = site("dog", RECORD=b"dog.py,,\n")
    assert installed.others() == []
    assert (folder, "RECORD") not in read
    assert (folder, "METADATA") not in read
    installed._has_package.cache_clear()
    (folder / "cronguard").mkdir()
    assert installed.others() == []
    assert (folder, "RECORD") in read
    assert (folder, "METADATA") not in read
