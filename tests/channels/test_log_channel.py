"""``log``: one record an alert."""

import logging
import logging.config
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from support.alerts import KINDS, hostile_alerts, message, of_kind

from cronguard.channels.log import LogChannel
from cronguard.core import rendering
from cronguard.core.errors import ChannelError
from cronguard.runtime.delivery_codes import explain

NAME = "cronguard.alerts"


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        self.records = []

    def emit(self, record):
        self.records.append(record)


class Broken(logging.Handler):
    """Fails as a handler on a full disk does: inside itself."""

    def emit(self, record):
        self.handleError(record)

    def handleError(self, record):  # noqa: N802
        pass


class DropsEverything(logging.Filter):
    def filter(self, record):
        return False


@pytest.fixture
def alone():
    """Gives the channel's logger, with handlers of the test's own alone; in the test itself, since
    pytest adds some. It is as before at the end."""
    logger = logging.getLogger(NAME)

    def isolate():
        logger.propagate, logger.handlers = False, []
        return logger

    yield isolate
    logger.propagate, logger.handlers, logger.filters, logger.disabled = True, [], [], False
    logger.setLevel(logging.NOTSET)


def refused():
    with pytest.raises(ChannelError) as caught:
        LogChannel().send(message())
    assert not caught.value.permanent
    assert explain(caught.value.code)
    return caught.value.code


@pytest.mark.parametrize(
    ("kind", "level"),
    list(zip(KINDS, ["ERROR", "ERROR", "INFO", "WARNING", "ERROR", "WARNING"], strict=True)),
)
def test_one_record_with_the_facts(kind, level, caplog):
    """Level by kind, the title as text, the payload's fields as structure."""
    caplog.set_level(logging.DEBUG)
    alert = of_kind(kind)
    LogChannel().send(message(alert))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("cronguard.alerts", level)
    assert record.getMessage().startswith(rendering.title(alert))
    assert record.cronguard_alert["job"] == alert.job
    assert record.cronguard_alert["schema"] == "cronguard.alert/1"


@given(hostile_alerts)
def test_hostile_text_stays_on_its_line(caplog, alert):
    """No forged log lines."""
    caplog.clear()
    LogChannel().send(message(alert))
    for record in caplog.records:
        assert len(record.getMessage().splitlines()) == 1


def test_a_configuration_that_disables_loggers():
    """`dictConfig` and `fileConfig` disable what they do not name, as migration tools have them.

    In a process of its own, since that is for every logger that is there.
    """
    program = (
        "import logging.config\n"
        "from cronguard.channels.log import LogChannel\n"
        "from cronguard.core.errors import ChannelError\n"
        "from support.alerts import message\n"
        "logger = logging.getLogger('cronguard.alerts')\n"
        "logger.addHandler(logging.StreamHandler())\n"
        "logging.config.dictConfig({'version': 1, 'incremental': False})\n"
        "try:\n"
        "    LogChannel().send(message())\n"
        "except ChannelError as error:\n"
        "    print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("log_disabled\n", "")


def test_a_logger_that_takes_no_such_level(alone):
    """Neither the logger itself nor, below its own level, any of its handlers."""
    logger = alone()
    logger.addHandler(kept := Kept())
    logger.setLevel(logging.CRITICAL)
    assert refused() == "log_level"
    logger.setLevel(logging.DEBUG)
    kept.setLevel(logging.CRITICAL)
    assert refused() == "log_level"
    assert kept.records == []


def test_logging_that_is_switched_off(alone):
    """`logging.disable` is for all loggers."""
    logger = alone()
    logger.addHandler(Kept())
    logging.disable(logging.CRITICAL)
    try:
        assert refused() == "log_level"
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("place", ["logger", "handler"])
def test_a_filter_that_refuses_the_record(alone, place):
    """Wherever it stands."""
    logger = alone()
    logger.addHandler(kept := Kept())
    (logger if place == "logger" else kept).addFilter(DropsEverything())
    assert refused() == "log_filtered"
    assert kept.records == []


def test_nobody_listens(alone, monkeypatch):
    """No handler, or one that is there to be silent."""
    logger = alone()
    monkeypatch.setattr(logging, "lastResort", None)
    assert refused() == "log_no_handler"
    logger.addHandler(logging.NullHandler())
    assert refused() == "log_no_handler"


def test_a_handler_that_fails(alone):
    """It keeps that to itself; where another one has the record, the alert has arrived."""
    logger = alone()
    broken = Broken()
    logger.addHandler(broken)
    assert refused() == "log_handler"
    assert "handleError" not in vars(broken)
    logger.addHandler(kept := Kept())
    LogChannel().send(message())
    assert len(kept.records) == 1


def test_one_of_two_handlers_is_enough(alone):
    """A console that takes errors only, beside a file that takes all."""
    logger = alone()
    logger.addHandler(quiet := Kept(logging.CRITICAL))
    logger.addHandler(kept := Kept())
    LogChannel().send(message())
    assert (len(quiet.records), len(kept.records)) == (0, 1)


def test_a_recovery_where_information_is_not_logged(alone):
    """Whoever asked for it hears it: as a warning."""
    logger = alone()
    logger.addHandler(kept := Kept())
    logger.setLevel(logging.WARNING)
    LogChannel().send(message(of_kind("recovered")))
    assert [record.levelname for record in kept.records] == ["WARNING"]


def test_an_error_tracker_in_logging_itself_hears_it(alone, monkeypatch):
    """Sentry's SDK replaces `Logger.callHandlers`: it sees every record, handlers or not."""
    alone()
    heard = []
    monkeypatch.setattr(logging.Logger, "callHandlers", lambda _, record: heard.append(record))
    LogChannel().send(message())
    assert [record.name for record in heard] == [NAME]
