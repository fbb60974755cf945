"""Whatever goes wrong inside cronguard, the job's result and exception are its own.

Each kind of trouble is tried on a function that returns and on one that raises, plain and
asynchronous. Bounds on time are those that only a blunder breaks.
"""

import asyncio
import contextlib
import logging
import threading
import time

import pytest
from support.record import SOON, Gate, StoreOf, failing_store, record, until
from support.record import recording as recording_alone

from cronguard import cron_guarded, guard
from cronguard.core.errors import ChannelError, StoreConfigError, StoreError
from cronguard.process import log
from cronguard.process.workers import Busy, TimeoutPool
from cronguard.runtime import composition, runtime
from cronguard.stores.spooled import SpooledStore
from cronguard.testing import MemoryStore, RecordingChannel

__all__ = ["record"]


class Broken(Exception):  # noqa: N818  # the job's business
    """The job's own."""


RESULT, ERROR = object(), Broken("of the job's own")


def returns():
    return RESULT


def raises():
    raise ERROR


async def returns_async():
    return RESULT


async def raises_async():
    raise ERROR


@contextlib.contextmanager
def recording(**options):
    """As `recording_alone`; afterwards the store is well again, and every job goes on."""
    with recording_alone(**options) as record:
        yield record
        logging.disable(logging.CRITICAL)  # what is said here is not what the test is about
        try:
            assert_all_go_on(record)
        finally:
            logging.disable(logging.NOTSET)


def assert_all_go_on(record):
    """The next run of each job starts, and no row of a run that has ended is left running."""
    if isinstance(record.store, StoreOf):
        record.store.before = lambda: None
    if isinstance(record.runtime.store, SpooledStore):
        record.runtime.store._quiet_until = 0.0
    for job in {"nightly", *(status.job for status in record.store.jobs())}:
        assert cron_guarded(job=job)(returns)() is RESULT
        assert "running" not in record.statuses(job)


def check_unharmed(**options):
    """Both functions, both ways: the very result and the very exception. Returns seconds spent."""
    start = time.monotonic()
    options = {"job": "nightly", **options}
    assert cron_guarded(**options)(returns)() is RESULT
    assert asyncio.run(cron_guarded(**options)(returns_async)()) is RESULT
    with pytest.raises(Broken) as caught:
        cron_guarded(**options)(raises)()
    assert caught.value is ERROR
    with pytest.raises(Broken) as caught:
        asyncio.run(cron_guarded(**options)(raises_async)())
    assert caught.value is ERROR
    with pytest.raises(Broken) as caught, guard(**options):
        raise ERROR
    assert ERROR.__context__ is None
    assert ERROR.__cause__ is None
    return time.monotonic() - start


@pytest.fixture(autouse=True)
def _fresh_words(monkeypatch):
    """What is said once a process is said once a test here."""
    monkeypatch.setattr(log, "_logged_once", set())
    monkeypatch.setattr(log, "_handler_pool", None)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "cronguard"]


# --- the store -----------------------------------------------------------------------------------


class Odd(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "unbounded"])
@pytest.mark.parametrize(
    "error",
    [
        StoreError("it is away", code="away"),
        StoreConfigError("there is no such table", code="schema"),
        OSError(28, "No space left on device: /home/anna"),
        TimeoutError(),
        ValueError("secret=hunter2"),
        RecursionError(),
        MemoryError(),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_store_that_raises(caplog, error, bounded):
    """Its error goes to the log, once, as far as its text is ours."""
    with recording(store=failing_store(error, bounded=bounded)):
        check_unharmed()
    said = lines(caplog)
    assert 1 <= len(said) <= 12
    assert len(said) == len(set(said)) or not isinstance(error, StoreError)
    assert "hunter2" not in caplog.text
    assert "anna" not in caplog.text
    if isinstance(error, StoreError):
        assert str(error) in caplog.text


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (StoreError("away", code="away"), "until the store answers: away"),
        (StoreConfigError("no table", code="schema"), "until somebody corrects this: no table"),
    ],
    ids=["away", "wrong"],
)
def test_what_becomes_of_an_end_is_said_truly(caplog, error, fate):
    """That it waits, where and for what; and that it is lost, when this process ends."""
    with recording_alone(store=failing_store(error, at="finish")), guard(job="nightly"):
        pass
    kept, lost = lines(caplog)
    assert kept == f"runs are kept in the memory of this process {fate}"
    assert lost.startswith("1 outcome is lost with this process, which could keep them nowhere: ")


@pytest.mark.parametrize("error", [Odd(), SystemExit(3), KeyboardInterrupt()])
def test_a_foreign_store_that_raises_what_is_no_exception(error):
    """Called in a thread of its own, it cannot end the program either."""
    with recording(store=failing_store(error, bounded=False)):
        check_unharmed()


@pytest.mark.parametrize(
    "answer", [None, 3, object(), "running"], ids=lambda answer: type(answer).__name__
)
def test_a_store_that_answers_nonsense(answer):
    """A plugin may have any bug."""

    class Nonsense(MemoryStore):
        def start_run(self, run, *, is_dead, ended=()):
            return answer

        def finish_run(self, run, outcome, *, started, notified=()):
            return answer

    with recording(store=Nonsense()):
        check_unharmed()


@pytest.mark.parametrize("store", [object(), None], ids=["object", "None"])
def test_a_store_that_is_none(store):
    """Nothing about it works."""
    with recording() as record:
        record.runtime.store = store
        check_unharmed()
        record.runtime.store = MemoryStore()


def test_a_store_that_hangs_costs_its_budget_and_no_more(caplog):
    """Two seconds of time-out for a call; while it hangs, later calls fail at once."""
    gate = Gate()
    with recording(store=StoreOf(gate.wait, bounded=False), store_timeout=0.5):
        job = cron_guarded(job="nightly")(returns)
        start = time.monotonic()
        assert job() is RESULT
        first = time.monotonic() - start
        for _ in range(3):
            job()
        start = time.monotonic()
        for _ in range(20):
            job()
        later = time.monotonic() - start
        gate.open()
    assert 0.5 <= first < SOON
    assert later < 20 * 0.5
    assert "did not answer within 0.5 s" in caplog.text


def test_the_loop_goes_on_while_the_store_hangs():
    """Other tasks of the program notice nothing."""
    gate = Gate()

    async def main():
        ticks = 0
        task = asyncio.create_task(cron_guarded(job="nightly")(returns_async)())
        while not task.done():
            await asyncio.sleep(0.005)
            ticks += 1
        assert await task is RESULT
        return ticks

    with recording(store=StoreOf(gate.wait, bounded=False), store_timeout=1):
        assert asyncio.run(main()) > 10
        gate.open()


def test_what_was_not_written_is_written_by_the_next_run_in_order():
    """Starts and ends that failed are made up for before anything new; the streak is exact."""
    away = []

    def before():
        if away:
            raise StoreError("away")

    with recording(store=StoreOf(before)) as record:

        @cron_guarded(threshold=3)
        def nightly(fail):
            if fail:
                raise Broken

        def run(fail):
            with contextlib.suppress(Broken):
                nightly(fail)

        away.append(True)
        for fail in (True, False, True, True):
            run(fail)
        assert record.statuses("nightly") == []
        away.clear()
        run(True)
        assert record.statuses("nightly") == ["failure", "success", "failure", "failure", "failure"]
        assert record.streaks("nightly") == [1, 0, 1, 2, 3]
        assert [a.consecutive_failure_count for a in record.channel.wait(2) if not a.degraded] == [
            3
        ]


def test_what_was_told_without_a_record_is_told_once_an_outage():
    """At the first failure that cannot be written, on the spot; when it is written, those who took
    the news are not told of the incident again. The next outage is news."""
    away = []

    def before():
        if away:
            raise StoreError("away")

    with recording(store=StoreOf(before)) as record:
        job = cron_guarded(job="nightly", threshold=1)(raises)

        def fail(times):
            for _ in range(times):
                with pytest.raises(Broken):
                    job()

        def settled():
            return not record.runtime.store.alerts(state="pending")

        for outage in (1, 2):
            away.append(True)
            fail(2)
            assert len(record.channel.wait(outage)) == outage
            asyncio.run(until(settled))
            away.clear()
            fail(2)
            with guard(job="nightly"):
                pass
        assert record.streaks("nightly") == [1, 2, 3, 4, 0] * 2
        told = [(a.consecutive_failure_count, a.degraded) for a in record.channel.alerts]
        assert told == [(None, True), (1, True)]
        assert record.store.alerts(state="pending") == []


def test_an_end_that_was_not_written_does_not_block_the_job():
    """Its row says running and our process lives; the next run still goes ahead."""
    away = []

    def before():
        if away:
            raise StoreError("away")

    with recording(store=StoreOf(before, at="finish")) as record:
        job = cron_guarded(job="nightly")(returns)
        away.append(True)
        assert job() is RESULT
        away.clear()
        assert job() is RESULT
        assert record.statuses("nightly") == ["success", "success"]


def test_what_could_not_be_written_is_written_by_one_run():
    """Of many that end when the store is back, each would do it all."""
    away, written = [True], []

    class Back(MemoryStore):
        def finish_run(self, run, outcome, *, started, notified=()):
            if away:
                raise StoreError("away")
            written.append(run.run_id)
            time.sleep(0.002)  # and others get their turn
            return super().finish_run(run, outcome, started=started)

    with recording(store=Back()) as record:
        job = cron_guarded(job="nightly", overlap="allow")(returns)
        for _ in range(20):
            assert job() is RESULT
        away.clear()
        crowd = [threading.Thread(target=job) for _ in range(8)]
        for each in crowd:
            each.start()
        for each in crowd:
            each.join(60)
        record.runtime.close()
        assert len(written) == len(set(written)) == 28


def test_outcome_that_the_store_fails_on_waits():
    """A bug in a store that one row sets off: later runs go on, their outcomes wait behind it."""
    bad = []

    class Choosy(MemoryStore):
        def finish_run(self, run, outcome, *, started, notified=()):
            if run.run_id in bad:
                raise LookupError
            return super().finish_run(run, outcome, started=started)

    with recording(store=Choosy()) as record:
        job = cron_guarded(job="nightly", overlap="allow")(returns)
        with guard(job="nightly", overlap="allow") as run:
            bad.append(run.run_id)
        for _ in range(3):
            assert job() is RESULT
        assert record.runtime.store.waiting() == 4
        bad.clear()
        assert job() is RESULT
        assert record.runtime.store.waiting() == 0
        assert record.statuses("nightly") == ["success"] * 5


def test_what_waits_is_told_before_the_next_heartbeat():
    """Others wait for its row, and this process may not run the job again for long."""
    with recording(store=failing_store(StoreError("away"), at="finish")) as record:
        assert cron_guarded(job="nightly")(returns)() is RESULT
        assert record.runtime.open_runs._renew_at <= time.monotonic() + 2.0


# --- channels ------------------------------------------------------------------------------------


class Hanging:
    """A channel that never returns."""

    OPTIONS = ()

    def __init__(self):
        self.gate = Gate()

    def send(self, message):
        self.gate.wait()


@pytest.mark.parametrize(
    "error",
    [ChannelError("gone", permanent=True), ValueError("https://hooks.example/T0/hunter2"), Odd()],
    ids=lambda error: type(error).__name__,
)
def test_a_channel_that_raises(caplog, error):
    """It is told of in the log, by code; the job does not notice."""
    channel = RecordingChannel()
    channel.error = error
    with recording(channel=channel) as record:
        check_unharmed(threshold=1)
        wait_for(lambda: not record.runtime.dispatcher._under_way)
    assert "hunter2" not in caplog.text


def test_a_channel_that_hangs_does_not_hold_the_job():
    """The call returns at once; the alert stays pending for the next try."""
    channel = Hanging()
    with recording(channel=channel) as record:
        spent = check_unharmed(threshold=1)
        assert spent < SOON
        assert channel.gate.reached.wait(10)
        assert record.store.alerts()[0].state == "pending"
        channel.gate.open()


def test_the_call_returns_within_fifty_milliseconds_of_the_log_update():
    """Whatever the channel does; the best of some tries, since this machine may be busy."""

    class Store(MemoryStore):
        def finish_run(self, run, outcome, **more):
            try:
                return super().finish_run(run, outcome, **more)
            finally:
                self.written_at = time.monotonic()

    waits = []
    for _ in range(10):
        channel, store = Hanging(), Store()
        with recording(store=store, channel=channel):
            with pytest.raises(Broken), guard(job="nightly", threshold=1):
                raise Broken
            waits.append(time.monotonic() - store.written_at)
            assert channel.gate.reached.wait(30)
            channel.gate.open()
    assert min(waits) < 0.05


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


# --- settings, redaction, logging ----------------------------------------------------------------


@pytest.mark.parametrize("where", ["load_settings", "compose", "channel_rules", "current_owner"])
def test_cronguards_own_parts_may_fail(monkeypatch, caplog, where):
    """Whatever raises inside, one line is logged and the job runs."""
    from cronguard.guarding import recording

    def fail(*args, **kwargs):
        raise RuntimeError("secret=hunter2")

    home = {"current_owner": recording, "channel_rules": runtime}.get(where, composition)
    monkeypatch.setattr(home, where, fail)
    monkeypatch.setattr(composition, "_current", None)
    if where == "channel_rules":
        monkeypatch.setattr(composition, "compose", lambda *_, **__: recorded().runtime)
    elif where == "current_owner":
        monkeypatch.setattr(composition, "_current", recorded().runtime)
    check_unharmed()
    assert len(lines(caplog)) == 1
    assert "not recording nightly" in lines(caplog)[0]
    assert "hunter2" not in caplog.text


def recorded():
    from support.record import Record

    return Record()


def test_a_store_that_cannot_be_opened_gives_way_to_the_default(monkeypatch, tmp_path, caplog):
    """A plugin's own code may raise anything."""

    class Plugin:
        @classmethod
        def from_url(cls, url, *, timeout):
            raise RuntimeError(url)

    from cronguard.settings import plugins

    load = plugins.load
    monkeypatch.setattr(
        plugins, "load", lambda group, name: Plugin if name == "odd" else load(group, name)
    )
    monkeypatch.setenv("CRONGUARD_STORE", "odd://user:hunter2@host")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(composition, "_current", None)
    check_unharmed()
    assert (tmp_path / "cronguard" / "cronguard.db").exists()
    assert "hunter2" not in caplog.text
    composition.current().store.close()


class Hostile(Exception):  # noqa: N818  # as above
    """Its text never comes."""

    gate = None

    def __str__(self):
        type(self).gate.wait()
        return "too late"


def shouts(text, error):
    return text.upper()


def fails(text, error):
    raise Odd("secret=hunter2")


@pytest.mark.parametrize("redact", ["strict", "scrub", shouts, fails, lambda text, error: None])
def test_any_redaction(caplog, redact):
    """A redactor of the program's own may raise or return what it likes."""
    with recording(redact=redact) as record:
        check_unharmed()
        assert record.statuses("nightly")[-1] == "failure"
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("what", ["redactor", "message"])
def test_redaction_that_hangs_is_left_behind(monkeypatch, what):
    """The run is recorded without its message."""
    gate = Gate()
    monkeypatch.setattr(runtime, "_CAPTURE_SECONDS", 0.1)
    Hostile.gate = gate

    def hangs(text, error):
        gate.wait()

    start = time.monotonic()
    with recording(redact=hangs if what == "redactor" else shouts) as record:

        @cron_guarded
        def nightly():
            raise Hostile

        for _ in range(3):
            with pytest.raises(Hostile):
                nightly()
        assert record.statuses("nightly") == ["failure"] * 3
        assert record.runs("nightly")[0].failure.error_type.endswith("Hostile")
        assert record.runs("nightly")[0].failure.error_message is None
        assert time.monotonic() - start < SOON
        gate.open()
        # What was left behind would say what is wrong with the redactor during some later test.
        left = record.runtime._captures._overdue_calls
        wait_for(lambda: not any(call.is_under_way() for call in left))


class LogHandler(logging.Handler):
    """Does to each record what it is told to."""

    def __init__(self, work):
        super().__init__()
        self.emit = work


@pytest.fixture
def on_log():
    """Give the cronguard logger a handler that calls a function."""
    logger, added = logging.getLogger("cronguard"), []

    def add(work):
        added.append(LogHandler(work))
        logger.addHandler(added[-1])

    yield add
    for handler in added:
        logger.removeHandler(handler)
    # A call that was left behind goes on to the handlers of whatever test comes next.
    left = log._handler_pool._overdue_calls if log._handler_pool else ()
    give_up = time.monotonic() + 10
    while any(call.is_under_way() for call in left):
        assert time.monotonic() < give_up, "a log handler of this test still hangs"
        time.sleep(0.005)


@pytest.mark.parametrize("error", [ValueError(), Odd(), SystemExit(3)])
def test_a_log_handler_that_raises(on_log, error):
    """What it raises stays inside."""

    def fail(entry):
        raise error

    on_log(fail)
    with recording(store=failing_store(StoreError("away"))):
        check_unharmed()


def test_a_log_handler_that_hangs_is_left_behind(on_log, monkeypatch):
    """It may cost its patience once; while it hangs, nothing more is said."""
    gate = Gate()
    monkeypatch.setattr(log, "_HANDLER_WAIT_SECONDS", 0.2)
    on_log(lambda entry: gate.wait())
    start = time.monotonic()
    with recording(store=failing_store(ValueError("away"))):
        for _ in range(10):
            check_unharmed()
    assert time.monotonic() - start < SOON
    gate.open()


def test_a_log_handler_may_use_guarded_functions(on_log, record):
    """A handler that counts, or reports, with a guarded job of its own."""
    notified = cron_guarded(job="telling")(lambda entry: None)
    on_log(notified)
    for _ in range(2):
        log.warning("something is odd")
    assert record.statuses("telling") == ["success"] * 2


def test_logging_switched_off_or_in_the_way(caplog):
    """Nobody listens, or the program's own logging is locked while a job runs."""
    logging.disable(logging.CRITICAL)
    try:
        with recording(store=failing_store(StoreError("away"))):
            check_unharmed()
    finally:
        logging.disable(logging.NOTSET)
    assert not caplog.records


def test_a_job_run_inside_a_log_handler_cannot_deadlock(on_log, monkeypatch):
    """We would log, from a thread, through the very handler whose lock our caller holds."""
    monkeypatch.setattr(log, "_HANDLER_WAIT_SECONDS", 0.2)
    seen = []

    def emit(entry):
        if not seen:
            seen.append(True)
            check_unharmed()

    on_log(emit)
    with recording(store=failing_store(StoreError("away"))):
        logging.getLogger("cronguard").warning("from the program")
    assert seen


# --- threads -------------------------------------------------------------------------------------


def test_a_crowd_leaves_few_threads():
    """Those that made others' calls are kept for the next one, but not all of them."""
    together, threads = threading.Barrier(12), []

    def call():
        threads.append(threading.current_thread())
        together.wait(30)

    bound = TimeoutPool(most_late=1)
    callers = [threading.Thread(target=bound.call, args=(call, 60)) for _ in range(12)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert len(set(threads)) == 12
    give_up = time.monotonic() + 30
    while sum(each.is_alive() for each in threads) > 6 and time.monotonic() < give_up:
        time.sleep(0.01)
    assert sum(each.is_alive() for each in threads) <= 6


def test_a_crowd_takes_turns():
    """A store's server has few connections to give: so many calls at once, no more."""
    bound, under_way, most = TimeoutPool(most_late=1, at_once=3), [], []

    def call():
        under_way.append(True)
        most.append(len(under_way))
        time.sleep(0.002)  # and others come meanwhile
        under_way.pop()

    callers = [threading.Thread(target=bound.call, args=(call, 60)) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert len(most) == 20
    assert max(most) <= 3


def test_a_turn_that_does_not_come_is_not_waited_for():
    """Nor does the one who waited in vain count as one who hangs."""
    bound, gate, answers = TimeoutPool(most_late=1, at_once=1), Gate(), []
    first = threading.Thread(target=bound.call, args=(gate.wait, 60))
    first.start()
    assert gate.reached.wait(30)
    with pytest.raises(Busy):
        bound.call(lambda: answers.append("never"), 0.01)
    gate.open()
    first.join(60)
    bound.call(lambda: answers.append("now"), 60)
    assert answers == ["now"]


@pytest.mark.parametrize("what", ["__init__", "start"])
def test_no_thread_can_be_started(monkeypatch, what):
    """No watchdog, no delivery, no patience for others' code; the runs are recorded.

    A subinterpreter refuses daemons before they are to start.
    """

    def refuse(*args, **options):
        raise RuntimeError("daemon threads are disabled in this (sub)interpreter")

    monkeypatch.setattr(threading.Thread, what, refuse)
    with recording(redact=shouts) as record:
        check_unharmed(threshold=1)
        assert record.statuses("nightly") == ["success"] * 2 + ["failure"] * 3
        assert [alert.state for alert in record.store.alerts()] == ["pending"]


def test_a_slow_store_and_a_cancelled_caller_leave_nothing_open():
    """The sum of the parts: no run stays open whatever the caller does."""
    gate = Gate()

    async def main():
        tasks = [
            asyncio.create_task(cron_guarded(job=f"job-{n}")(returns_async)()) for n in range(10)
        ]
        await until(gate.reached.is_set)
        for task in tasks[::2]:
            task.cancel()
        gate.open()
        await asyncio.gather(*tasks, return_exceptions=True)

    with recording(store=StoreOf(gate.wait, bounded=False)) as record:
        asyncio.run(main())
        assert not record.runtime.open_runs._open
        assert {s.last_run.status for s in record.store.jobs()} <= {"success", "failure"}
