"""A ping after each ended run, so that an outside service notices when the whole host is down.

The forms are those of Healthchecks (https://healthchecks.io/docs/http_api/), Better Stack
(https://betterstack.com/docs/uptime/cron-and-heartbeat-monitor/) and Cronitor
(https://cronitor.io/docs/telemetry-api): the address itself for a success, ``/fail`` added to its
path for a failure; for Cronitor, ``state`` in the query. Nothing else is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cronguard.core.errors import ChannelError
from cronguard.core.model import DELIVERY_SECONDS, SecretRef
from cronguard.process import log
from cronguard.process.threads import run_in_background
from cronguard.runtime.delivery_codes import explain

_CRONITOR = ("cronitor.link", "cronitor.io")
_REFUSALS = {
    b"ok (not found)": "heartbeat_not_found",
    b"ok (rate limited)": "heartbeat_rate_limited",
}
"""What Healthchecks says with status 200 of a ping that it has not taken."""


def ping_url(url: str, *, failed: bool) -> str:
    """Return the address to request for how a run ended.

    Raises:
        ValueError: ``url`` is not a valid address.
    """
    parts = urlsplit(url.strip())
    host = (parts.hostname or "").lower()
    if any(host == name or host.endswith(f".{name}") for name in _CRONITOR):
        query = [pair for pair in parse_qsl(parts.query) if pair[0] != "state"]
        query.append(("state", "fail" if failed else "complete"))
        return urlunsplit(parts._replace(query=urlencode(query)))
    if failed:
        parts = parts._replace(path=f"{parts.path.rstrip('/')}/fail")
    return urlunsplit(parts)


def ping(job: str, ref: SecretRef, resolve: Callable[[SecretRef], str], *, failed: bool) -> None:
    """Send the ping in the background; return at once and never raise.

    A process that ends waits for the ping, as for its alerts, for five seconds at most. A failure
    is logged with its code and not tried again: the next run sends the next ping.

    Args:
        job: The job's name, for the log.
        ref: The reference to the address.
        resolve: Reads the address.
        failed: Whether the run failed.
    """
    deadline = time.monotonic() + DELIVERY_SECONDS

    def work() -> None:
        caught: str | None
        try:
            from cronguard.channels.transport import http  # few jobs have a heartbeat

            url = ping_url(resolve(ref), failed=failed)
            answer = http.post(url, body=b"", deadline=deadline)
            http.raise_for_status(answer)
            http.raise_for_page(answer)
            if refusal := _REFUSALS.get(answer.body.strip().lower()):
                raise ChannelError(refusal)  # noqa: TRY301  # reported like the others
            caught = None
        except ChannelError as error:
            what = error.detail or explain(error.code)
            caught = f"{error.code}: {what}" if what else error.code
        except ValueError:
            caught = "bad_url"
        except BaseException as error:  # noqa: BLE001  # the last line of defence of a thread
            caught = type(error).__name__
        if caught is not None:
            log.warning("the heartbeat of %s did not reach %s (%s)", job, ref, caught)

    if run_in_background("heartbeat", work, deadline) is None:
        log.warning_once("no thread can be started now, so nobody hears the heartbeat of %s", job)


def load_late() -> None:
    """Load now what is imported late, when a heartbeat is sent."""
    import cronguard.channels.transport.http  # noqa: F401
