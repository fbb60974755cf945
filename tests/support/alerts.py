"""Alerts to try channels with: one of each kind, and ones made of hostile text."""

from typing import get_args

from hypothesis import strategies as st

from cronguard.core.model import Alert, AlertKind, Message
from cronguard.core.payload import encode

KINDS = get_args(AlertKind)

FAILING = Alert(
    alert_id="0199a1b2-0000-7000-8000-000000000001",
    kind="failing",
    job="assignment_reminder",
    run_id="0199a1b2-0000-7000-8000-000000000002",
    consecutive_failure_count=2,
    threshold=2,
    error_type="psycopg.errors.UniqueViolation",
    error_code="23505",
    error_message="duplicate key value violates unique constraint ‹…›",
    error_location="reminders/send.py:42 in send_all",
    last_success_at="2026-11-20T06:00:04.250000Z",
    started_at="2026-11-22T06:00:00.000000Z",
    finished_at="2026-11-22T06:00:04.250000Z",
    duration_seconds=4.25,
    host="worker-1",
    runbook="https://wiki.example/runbooks/reminder?a=1&b=2",
)


def of_kind(kind):
    """What an alert of the kind usually holds."""
    if kind == "recovered":
        return FAILING._replace(
            kind=kind,
            consecutive_failure_count=0,
            error_type=None,
            error_code=None,
            error_message=None,
            error_location=None,
        )
    return FAILING._replace(kind=kind, test=kind == "test")


ALERTS = [of_kind(kind) for kind in KINDS]
BARE = Alert(alert_id="a1", kind="failing", job="j", degraded=True)
"""Decided without any memory: no count, no error, nothing."""

NASTY = (
    "<!channel> <@U012> <https://evil.example|click> @here @everyone ```\n*bold* `code` &amp; "
    "<script>alert(1)</script> \x1b[31mred\x1b[0m \x1b]0;title\x07 \u202egpj.exe \r\nBcc: x@y.zz "
    "\x00 \ud800 \u2028 \u200b 😀 {0} %s %(x)s"
)

_text = st.one_of(
    st.none(),
    st.just(NASTY),
    st.text(st.characters(), max_size=60),
    st.lists(
        st.sampled_from([*"&<>`*_~@\n\r\x00\x1b😀é", NASTY, "<!channel>", "\ud800"]), max_size=40
    )
    .map("".join)
    .map(lambda text: text * 20),
    st.integers(1, 20_000).map(lambda n: "&" * n),
)
_time = st.one_of(st.none(), st.just("2026-11-22T06:00:00.000000Z"), st.just(NASTY))

hostile_alerts = st.builds(
    Alert,
    alert_id=st.just("0199a1b2-0000-7000-8000-000000000001"),
    kind=st.sampled_from(KINDS),
    job=st.one_of(st.just("nightly"), st.just("j" * 100), _text.filter(bool)),
    run_id=_text,
    consecutive_failure_count=st.one_of(st.none(), st.integers(0, 10**9)),
    threshold=st.one_of(st.none(), st.integers(1, 100)),
    error_type=_text,
    error_code=_text,
    error_message=_text,
    error_location=_text,
    last_success_at=_time,
    started_at=_time,
    finished_at=_time,
    duration_seconds=st.one_of(st.none(), st.floats(0, 10**9)),
    host=_text,
    runbook=_text,
    degraded=st.booleans(),
    test=st.booleans(),
    schema=st.just(FAILING.schema),
)


def message(alert=FAILING, *, deadline=None):
    """The alert as a channel is handed it."""
    return Message(alert=alert, payload=encode(alert).encode("utf-8", "replace"), deadline=deadline)
