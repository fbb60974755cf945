"""A store that may fail in every way at each of its verbs, and says what it really took.

`Faulty` is a store in memory. Beside it goes the reference, told the same: what the store did is
compared at once, and its log is what the reference's is.
"""

from datetime import UTC, datetime

from support.reference import Reference

from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.stores.sqlite import runs as sqlite_runs
from cronguard.testing import MemoryStore

PASSING = {
    "down": lambda: StoreError("out of reach", code="connection_refused"),
    "slow": lambda: StoreError("out of reach", code="timeout"),
    "html 403": lambda: StoreConfigError("the key is refused", code="key_refused"),
    "html 404": lambda: StoreConfigError("not a Supabase API", code="wrong_address"),
    "409": lambda: StoreError("did not do what it was asked (409)", code="409"),
    "22P05": lambda: StoreError("refuses a value (22P05)", code="22P05"),
    "empty": lambda: TypeError("'NoneType' object is not subscriptable"),
    "no module": lambda: ModuleNotFoundError("No module named 'httpx'"),
    "no memory": lambda: MemoryError(),
    "no descriptor": lambda: OSError(24, "Too many open files"),
    "encoding": lambda: UnicodeEncodeError("latin-1", "ø", 0, 1, "ordinal not in range"),
}
"""What a caller may be answered while the store itself is well, or was not even asked."""

VERBS = ("start", "finish", "heartbeat", "sweep", "claim", "settle", "overrun")


def _error(kind):
    return PASSING[kind]()


class Faulty(MemoryStore):
    """A store whose verbs fail as they are told to.

    ``dead`` are the processes that are gone.
    """

    def __init__(self, dead):
        self.reference = Reference()
        super().__init__(clock=lambda: self.reference.now)
        self.dead = dead
        self.faults = {}
        """Verb → (a key of `PASSING`, whether the store does it all the same)."""
        self.once = {}
        """The same, for the next call alone."""
        self.refuses = {}
        """Job → the code with which its outcomes are refused."""
        self.takes = None
        """A function (error message) → whether the store takes it."""
        self.committed = []
        """The runs that have ended in the log, in the order of commits."""
        self.differences = []
        """What the store answered otherwise than the reference."""
        self._keys = {}

    def _same(self, found, wanted):
        """Kept to be looked at: what is raised here is a fault of the store's to its caller."""
        if found != wanted:
            self.differences.append(f" found {found}\nwanted {wanted}")

    def _time_to_sweep(self, job):
        return True  # the reference judges everybody each time

    def up(self):
        self.faults, self.once, self.refuses, self.takes = {}, {}, {}, None

    def _call(self, verb, work):
        kind, late = self.once.pop(verb, None) or self.faults.get(verb) or (None, False)
        if kind and not late:
            raise _error(kind)
        self.reference.now = datetime.now(UTC)
        answer = work()
        for run_id, row in self.reference.rows.items():
            if row.status not in ("running", "skipped") and run_id not in self.committed:
                self.committed.append(run_id)
        if kind:
            raise _error(kind)
        return answer

    def start_run(self, run, *, is_dead, ended=()):
        def work():
            found = super(Faulty, self).start_run(run, is_dead=is_dead, ended=ended)
            wanted = self.reference.start_run(run, self.dead, ended)
            self._same(found._replace(state=None), wanted)
            return found._replace(state=self._state(run.job))

        return self._call("start", work)

    def finish_run(self, run, outcome, *, started, notified=()):
        def work():
            text = outcome.failure and outcome.failure.error_message
            if run.job in self.refuses:
                raise StoreError("did not do what it was asked", code=self.refuses[run.job])
            if self.takes and text and not self.takes(text):
                raise StoreError("did not do what it was asked", code="22P05")
            found = super(Faulty, self).finish_run(run, outcome, started=started, notified=notified)
            wanted = self.reference.finish_run(run, outcome, started=started, notified=notified)
            self._same(found._replace(state=None), wanted)
            return found._replace(state=self._state(run.job))

        return self._call("finish", work)

    def heartbeat(self, run_ids, *, lease, ended=()):
        def work():
            super(Faulty, self).heartbeat(run_ids, lease=lease, ended=ended)
            self.reference.heartbeat(run_ids, lease, ended)

        self._call("heartbeat", work)

    def sweep(self, owner, *, is_dead, ended=()):
        def work():
            found = super(Faulty, self).sweep(owner, is_dead=is_dead, ended=ended)
            self._same(found, self.reference.sweep(owner, self.dead, ended))
            return found

        return self._call("sweep", work)

    def claim_alerts(self, **wanted):
        def work():
            found = super(Faulty, self).claim_alerts(**wanted)
            whole = {"job": None, "force": False, "state": "pending", "limit": 100}
            expected = self.reference.claim(**whole | {"claim_for": 10.0} | wanted)
            kinds = [each.kind for each in found]
            self._same(kinds, [out.facts["kind"] for out in expected])
            for delivery, out in zip(found, expected, strict=True):
                self._keys[delivery.alert_id] = out.key
            return found

        return self._call("claim", work)

    def settle_alert(self, delivery, settlement):
        def work():
            found = super(Faulty, self).settle_alert(delivery, settlement)
            key = self._keys[delivery.alert_id]
            self._same(found, self.reference.settle(key, delivery.attempt, settlement))
            return found

        return self._call("settle", work)

    def announce_overrun(self, overrun, rules):
        def work():
            found = super(Faulty, self).announce_overrun(overrun, rules)
            self._same(found, self.reference.announce_overrun(overrun, rules))
            return found

        return self._call("overrun", work)

    def snooze(self, job, until):
        self.reference.now = datetime.now(UTC)
        self.reference.snooze(job, until)
        return super().snooze(job, until)

    def forget(self, job):
        def work():
            self.reference.forget(job)
            return super(Faulty, self).forget(job)

        return self._call("sweep", work)

    def unlock(self, job):
        self.reference.unlock(job)
        return super().unlock(job)

    def _state(self, job):
        row = self._file.read(lambda db: sqlite_runs.find_job(db, job))
        return row and row.state

    def log(self, job):
        """(run, status, count) of the job's rows, oldest first, as the reference has them too."""
        found = [
            (row.run_id, row.status, row.consecutive_failure_count)
            for row in reversed(self.history(job, limit=10_000))
        ]
        wanted = [
            (row.run_id, row.status, row.consecutive_failure_count)
            for row in reversed(self.reference.history(job))
        ]
        assert found == wanted
        return found
