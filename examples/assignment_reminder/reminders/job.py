"""The nightly job, guarded by cronguard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronguard import cron_guarded
from reminders.dispatch import LEASE, ReminderDispatchService
from reminders.gateway import NotificationGateway
from reminders.repository import DueRule, open_repository

JOB = "assignment_reminder"
TIMEZONE = "Europe/Oslo"
REMIND_AFTER = timedelta(days=50)


def due_today() -> DueRule:
    """Return what is due on the association's own calendar day."""
    return DueRule(datetime.now(ZoneInfo(TIMEZONE)).date(), REMIND_AFTER)


@cron_guarded(
    job=JOB,
    threshold=2,
    realert_every=None,
    schedule="0 6 * * *",
    timezone=TIMEZONE,
    max_runtime=timedelta(minutes=30),
    overlap="skip",
)
def send_reminders(
    store: str,
    gateway_url: str,
    rule: DueRule,
    *,
    lease: timedelta = LEASE,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
    waiting: Callable[[int, datetime], None] | None = None,
) -> int:
    """Send every reminder that is due.

    Args:
        store: ``sqlite:///FILE`` or ``supabase``.
        gateway_url: Where the notification gateway is.
        rule: Which day it is, and when an assignment falls due.
        lease: How long a batch stays reserved for a run that may have died.
        started: Called once with the number of reminders that are due.
        progress: Called with the number of reminders sent since the last call.
        waiting: Called with how many reminders another run has reserved, and until when, where
            nothing else is left to do.

    Returns:
        How many reminders the gateway took.

    Raises:
        GatewayError: It did not take one. What went out before is remembered.
        RepositoryError: The database refused or could not be reached.
    """
    with open_repository(store) as repository, NotificationGateway(gateway_url) as gateway:
        if started:
            started(repository.count_due(rule))
        service = ReminderDispatchService(repository, gateway, lease=lease)
        return service.send_due(rule, progress=progress, waiting=waiting)
