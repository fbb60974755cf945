"""The nightly job, as it stands in a crontab:

15 2 * * *  python job.py --database mentors.db --gateway https://sms.example.org
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from datetime import date
from pathlib import Path

import httpx

from cronguard import cron_guarded
from database import connect
from dispatch import GatewayError, send_due


@cron_guarded(job="assignment_reminder", threshold=2, realert_every=None)
def send_reminders(database: Path, gateway: str, today: date) -> int:
    """Remind every mentor who falls due; returns how many messages went out."""
    with closing(connect(database)) as db, httpx.Client(base_url=gateway, timeout=10) as client:
        return send_due(db, client, today)


def main() -> int:
    """Run once; the exit status is 1 if not everything could be sent."""
    parser = argparse.ArgumentParser(description="Remind mentors who have not been in touch.")
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--gateway", required=True, help="address of the notification gateway")
    parser.add_argument("--today", type=date.fromisoformat, default=date.today())  # noqa: DTZ011  # the association's own calendar day
    arguments = parser.parse_args()
    try:
        send_reminders(arguments.database, arguments.gateway, arguments.today)
    except GatewayError:
        return 1  # cronguard has recorded it; a traceback would put a name into cron's mail
    return 0


if __name__ == "__main__":
    sys.exit(main())
