"""A third party's channel is used when it is named; its options may be in the environment alone."""

import subprocess
import sys

import pytest
from support import distributions
from support.distributions import install

from cronguard.core.install import how_to_install
from cronguard.core.model import SecretRef
from cronguard.settings import plugins
from cronguard.settings.loading import load_settings

__all__ = ["install"]

PIGEON = """
from cronguard.core.model import Option
class Pigeon:
    OPTIONS = [Option("loft", required=True, secret=True), Option("speed")]
    def send(self, message): ...
"""
OWL = """
from cronguard.core.model import Option
class Owl:
    OPTIONS = [Option("hours", default="night")]
    def send(self, message): ...
"""


@pytest.fixture
def load(tmp_path):
    def go(**environ):
        environ = {f"CRONGUARD_{name}": value for name, value in environ.items()}
        return load_settings({}, environ=environ, cwd=tmp_path, main=None)

    return go


def notified(loaded):
    return [channel.name for channel in loaded.settings.channels if channel.default]


def test_it_is_used_when_it_is_named(install, load):
    """By the list of channels, or by a type of one's own; its options are in the environment."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=PIGEON)
    for named in {"CHANNELS": "pigeon"}, {"PIGEON_TYPE": "pigeon"}:
        loaded = load(PIGEON_LOFT="north", **named)
        assert notified(loaded) == ["pigeon"]
        assert loaded.settings.channels[0].options == {
            "loft": SecretRef("env", "CRONGUARD_PIGEON_LOFT")
        }
        assert loaded.problems == loaded.warnings == ()


def test_it_stands_beside_the_built_in_ones(install, load):
    """Those that a type or their options set up are all told; a list says otherwise, as ever."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=PIGEON)
    both = {
        "PIGEON_TYPE": "pigeon",
        "PIGEON_LOFT": "north",
        "WEBHOOK_URL": "https://example.org/hook",
    }
    assert notified(load(**both)) == ["pigeon", "webhook"]
    loaded = load(**both, CHANNELS="webhook")
    assert notified(loaded) == ["webhook"]
    assert "pigeon" in [channel.name for channel in loaded.settings.channels], "for jobs"


def test_a_variable_alone_turns_nothing_on(install, load):
    """Doctor says how it is turned on."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=PIGEON)
    loaded = load(PIGEON_LOFT="north")
    assert notified(loaded) == ["console"]
    assert loaded.problems == ()
    assert "name the channel pigeon in CRONGUARD_CHANNELS, or" in loaded.warnings[0]


def test_a_mistyped_option_is_suggested(install, load):
    """Its options are known to the warning about variables that nothing reads."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=PIGEON)
    loaded = load(CHANNELS="pigeon", PIGEON_LOFTT="north")
    assert notified(loaded) == ["console"]
    assert "(did you mean 'CRONGUARD_PIGEON_LOFT'?)" in loaded.warnings[0]


def test_one_that_needs_nothing_is_used_when_it_is_named(install, load):
    """Installing alone turns nothing on."""
    install("cg-owl", {"owl": "cg_owl:Owl"}, cg_owl=OWL)
    assert notified(load()) == notified(load(OWL_HOURS="dusk")) == ["console"]
    assert notified(load(CHANNELS="owl")) == ["owl"]


def test_a_name_that_begins_like_a_built_in(install, load):
    """CRONGUARD_SLACK_PRO_LOFT is the option of slack-pro, not an unknown one of slack."""
    install("cg-pro", {"slack-pro": "cg_pro:Pigeon"}, cg_pro=PIGEON)
    loaded = load(CHANNELS="slack-pro", SLACK_PRO_LOFT="north")
    assert notified(loaded) == ["slack-pro"]
    assert loaded.problems == loaded.warnings == ()


def test_a_channel_of_a_type_that_begins_like_a_built_in(load):
    """CRONGUARD_SLACK_ONCALL_TYPE makes the channel slack-oncall."""
    loaded = load(SLACK_ONCALL_TYPE="webhook", SLACK_ONCALL_URL="https://example.org/x")
    assert notified(loaded) == ["slack-oncall"]
    assert loaded.problems == loaded.warnings == ()


def test_a_broken_one_is_named_and_the_others_are_told(install, load):
    """One line that names plugin and distribution; the built-in still has its alert."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon="raise RuntimeError('x')")
    loaded = load(CHANNELS="pigeon,webhook", WEBHOOK_URL="https://example.org/hook")
    assert notified(loaded) == ["webhook"]
    (problem,) = loaded.problems
    assert "channel 'pigeon' of cg-pigeon 1.2 cannot be loaded: RuntimeError" in problem


def test_an_extra_that_is_missing_spoils_nothing(load, monkeypatch):
    """A variable that nothing reads is looked up among all channels, usable or not."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "cronguard.channels.apprise", raising=False)
    plugins.forget()
    try:
        loaded = load(WEBHOOK_URL="https://example.org/hook", NOBODY_KNOWS="x")
        assert notified(loaded) == ["webhook"]
        assert "CRONGUARD_NOBODY_KNOWS" in loaded.warnings[0]
        loaded = load(APPRISE_URL="json://127.0.0.1", WEBHOOK_URL="https://example.org/hook")
        assert notified(loaded) == ["webhook"]
        (problem,) = loaded.problems
        assert problem == (
            "channel 'apprise' needs the module 'apprise': " + how_to_install("apprise")
        )
        assert loaded.warnings == ()  # it was read, in vain
    finally:
        plugins.forget()


PROBE = """
import os, sys
from cronguard.settings.loading import load_settings
loaded = load_settings({}, environ=dict(os.environ), cwd=None, main=None)
print(*[c.name for c in loaded.settings.channels if c.default], "importlib.metadata" in sys.modules)
"""


def test_metadata_is_read_only_for_a_third_party_s_channel(tmp_path):
    """Built-ins, and variables that nothing reads, cost a run no look at packages."""
    distributions.write(
        tmp_path / "cg",
        "cg-pigeon",
        {plugins.CHANNELS: {"pigeon": "cg_pigeon:Pigeon"}},
        cg_pigeon=PIGEON,
    )

    def probe(**environ):
        path = f"{tmp_path / 'cg'}:{distributions.ROOT}"
        environ = {f"CRONGUARD_{name}": value for name, value in environ.items()}
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            env={"PYTHONPATH": path, **environ},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    url = "https://example.org/hook"
    assert probe(WEBHOOK_URL=url, TEST_MODE="1", WEBHOOK_THRESHOLD="3") == "webhook False"
    assert probe(ONCALL_TYPE="webhook", ONCALL_URL=url) == "oncall False"
    assert probe(PIGEON_LOFT="north") == "console False"
    assert probe(PIGEON_LOFT="north", CHANNELS="pigeon") == "pigeon True"


def test_a_variable_that_nothing_reads_costs_nothing(tmp_path):
    """Two thousand of them call no function of ours more often than two do, and load nothing."""

    def calls(number):
        found = []
        environ = {f"CRONGUARD_WORD{index}_OTHER{index}": "x" for index in range(number)}
        before = set(sys.modules)
        sys.setprofile(lambda frame, event, _: event == "call" and found.append(frame.f_code))
        try:
            loaded = load_settings({}, environ=environ, cwd=tmp_path, main=None)
        finally:
            sys.setprofile(None)
        assert notified(loaded) == ["console"]
        return len(found), set(sys.modules) - before

    calls(2)
    (few, _), (many, loaded) = calls(2), calls(2000)
    assert many == few
    assert not loaded


def test_many_such_variables_are_a_few_lines(load):
    """Looking for what was meant takes long: twenty are looked up, the others counted."""
    loaded = load(**{f"WORD{index}_OTHER": "x" for index in range(2000)})
    assert len(loaded.warnings) <= 21
    assert "1,980 more" in loaded.warnings[-1]
