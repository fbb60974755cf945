"""What must hold after any fault: the job goes on, and no run that has ended holds it."""

from datetime import UTC, datetime

from cronguard.core.clock import new_id
from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.model import Outcome, Run
from cronguard.process.identity import current_owner, is_dead
from cronguard.stores.sqlite.store import SQLiteStore


def assert_goes_on(store, *jobs, ended=()):
    """The next run of each job, with the default overlap, starts; no row of an ended run is left.

    Where nothing of a job goes on when this is called. ``store`` is what a host would use, or the
    store itself; then ``ended`` are the runs that their process would name. Jobs that the store has
    never heard of are let be.
    """
    for job in jobs or [status.job for status in store.jobs()]:
        run = Run(new_id(), job, datetime.now(UTC), current_owner())
        started = store.start_run(run, is_dead=is_dead, ended=ended)
        assert started.status == "running", f"{job} is held by {started.held_by}"
        store.finish_run(run, Outcome("success", datetime.now(UTC), 0.0), started=True)
        rows = store.history(job, limit=10_000)
        assert [row.run_id for row in rows if row.status == "running"] == [], job


def assert_place_goes_on(place, *jobs):
    """The same of a `support.processes.Place` whose processes have ended.

    Where the test leaves something in the log's place that is none, there is nothing to look at.
    """
    store = SQLiteStore(place.path)
    try:
        if place.path.exists() and not _is_damaged(store):
            assert_goes_on(store, *jobs)
    finally:
        store.close()


def _is_damaged(store):
    try:
        store.jobs()
    except StoreError as error:
        of_others = error.code == "no_permission"
        return isinstance(error, StoreConfigError) or store.path.is_dir() or of_others
    return False
