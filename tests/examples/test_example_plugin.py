"""``examples/channel_plugin`` is really installed, by pip into a fresh environment, and used."""

import json
import os
import re
import subprocess
import sysconfig
import venv
from importlib.util import find_spec

import pytest
from support import readme
from support.hostile import answers, serve

pytestmark = pytest.mark.one_python

EXAMPLE = readme.ROOT / "examples" / "channel_plugin"
ENOUGH = 120


class Fresh:
    """A new environment that holds the example and nothing else of its own.

    cronguard and what both need are lent by this environment, so that nothing is downloaded.
    """

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=find_spec("pip") is None)
        self.python = folder / "venv" / "bin" / "python"
        (packages,) = (folder / "venv").glob("lib/python*/site-packages")
        lent = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(readme.ROOT)]
        (packages / "lent.pth").write_text("\n".join(dict.fromkeys(lent)))
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CRONGUARD_STORE": f"sqlite:///{folder / 'runs.db'}",
        }
        options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
        source = folder / "source"
        self.installed = self("-m", "pip", "install", *options, str(_copy(source)))

    def __call__(self, *arguments, **environ):
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=ENOUGH,
            check=False,
        )


def _copy(folder):
    """pip may write beside what it builds: not into the checkout."""
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copied = folder / path.relative_to(EXAMPLE)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    found = Fresh(tmp_path_factory.mktemp("fresh"))
    assert found.installed.returncode == 0, found.installed.stderr
    return found


def test_it_is_named_and_its_alerts_arrive(fresh):
    """Installed, named, one option set: a test alert and a failing job's reach the phone."""
    phone = answers()
    with serve(phone) as server:
        variable = {"CRONGUARD_CHANNELS": "ntfy", "CRONGUARD_NTFY_TOPIC_URL": server.url}
        done = fresh("-m", "cronguard", "test-alert", **variable)
        assert done.returncode == 0, done.stdout + done.stderr
        command = ("-m", "cronguard", "run", "nightly", "--threshold", "1", "--", "false")
        done = fresh(*command, **variable)
        assert done.returncode == 1, done.stderr
    first, second = phone.received
    assert first.headers["title"].startswith("[TEST]")
    assert second.headers["title"] == "nightly is failing: 1 failure"
    assert second.headers["priority"] == "high"
    assert b"nightly" in second.body


def test_channels_shows_where_it_is_from_and_what_it_needs(fresh):
    """Distribution and version; what is missing until the variable is set, by name only after."""
    rows = json.loads(fresh("-m", "cronguard", "channels", "--json").stdout)["channels"]
    (row,) = [row for row in rows if row["name"] == "ntfy"]
    assert (row["state"], row["distribution"]) == ("not set up", "cronguard-ntfy 1.0")
    assert row["needs"] == ["CRONGUARD_NTFY_TOPIC_URL"]
    variable = {"CRONGUARD_CHANNELS": "ntfy", "CRONGUARD_NTFY_TOPIC_URL": "https://ntfy.sh/secret"}
    done = fresh("-m", "cronguard", "channels", **variable)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ntfy ")]
    assert re.search(r"ready +every job +cronguard-ntfy 1\.0", line)
    assert "env:CRONGUARD_NTFY_TOPIC_URL" in line
    assert "secret" not in done.stdout


@pytest.mark.long
@pytest.mark.one_python
def test_its_own_tests_pass(fresh):
    """As its README says, with the contract that cronguard ships."""
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
    done = fresh(*arguments, str(fresh.folder / "source"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout


def blocks(path, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_page_shows_what_is_installed():
    """Page and package are the same lines, and those of the channel are about thirty."""
    source = (EXAMPLE / "ntfy_channel.py").read_text("utf-8")
    (shown,) = blocks(EXAMPLE / "README.md", "python")
    assert source == shown
    assert len(source.splitlines()) <= 32
    (shown,) = blocks(EXAMPLE / "README.md", "toml")
    assert shown == (EXAMPLE / "pyproject.toml").read_text("utf-8")
    page = (EXAMPLE / "README.md").read_text("utf-8")
    assert "\n```sh\npython -m pip install . ./examples/channel_plugin\n" in page
