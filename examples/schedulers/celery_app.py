"""Celery beat: the guard goes below ``@app.task``, so that it sees the function itself.

    celery -A celery_app worker --beat

A run that asks for another try (``self.retry``) ends as ``cancelled``, which leaves the streak
alone; ``soft_time_limit`` is a failure. A child that is killed (at ``time_limit``, out of memory)
without time to say so is found by the job's next run, or by ``cronguard check``, and counts as
crashed.
"""

import os

from celery import Celery
from celery.schedules import crontab

from cronguard import cron_guarded

app = Celery("jobs", broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost"))
app.conf.timezone = "Europe/Oslo"
app.conf.beat_schedule = {
    "every morning": {"task": "celery_app.send_reminders", "schedule": crontab(hour=6, minute=0)},
}


@app.task(name="celery_app.send_reminders", soft_time_limit=1500, time_limit=1800)
@cron_guarded(job="send_reminders", schedule="0 6 * * *", timezone="Europe/Oslo")
def send_reminders() -> int:
    """Remind everybody whose assignment is due."""
    return 0
