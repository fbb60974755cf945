"""What `cronguard doctor` finds: the rows of its lists."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple


class Check(NamedTuple):
    """One thing looked at."""

    check: str
    status: Literal["ok", "warning", "error"]
    message: str


class Value(NamedTuple):
    """One setting in force."""

    key: str
    value: str
    source: str


class Expected(NamedTuple):
    """One expectation that the store keeps of a job."""

    job: str
    key: str
    value: str
    source: str
    since: datetime


class Findings(NamedTuple):
    """Everything that was looked at."""

    checks: list[Check]
    values: list[Value]
    expected: list[Expected]
    """What is not the default, or was not stated by code."""
