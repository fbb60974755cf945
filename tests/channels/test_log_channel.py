"""``log``: one record an alert."""

import logging

import pytest
from hypothesis import given
from support.alerts import KINDS, hostile_alerts, message, of_kind

from cronguard.channels.log import LogChannel
from cronguard.core import rendering


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
