"""APScheduler 3: the guard goes below ``scheduled_job``.

APScheduler runs jobs in threads of one process; the guard keeps each run apart. What it drops
(``misfire_grace_time`` over, ``max_instances`` reached) never starts, so it is ``missed`` for
``cronguard check``, which does not run here, since it would be as dead as this process.
"""

from apscheduler.schedulers.blocking import BlockingScheduler

from cronguard import cron_guarded

scheduler = BlockingScheduler(timezone="Europe/Oslo")


@scheduler.scheduled_job("cron", hour=6, id="send_reminders", misfire_grace_time=300)
@cron_guarded(job="send_reminders", schedule="0 6 * * *", timezone="Europe/Oslo")
def send_reminders() -> int:
    """Remind everybody whose assignment is due."""
    return 0


if __name__ == "__main__":
    scheduler.start()
