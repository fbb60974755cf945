"""A program's own signal handlers, striking while cronguard is at work.

What they raise must reach the program, whatever we were doing; what they call may be guarded.
"""

import functools
import random
import signal
import time
from datetime import UTC, datetime

import pytest
from support.record import StoreOf, failing_store, record, recording

from cronguard import StoreError, cron_guarded, guard
from cronguard._signals import raised_by_handler
from cronguard.stores.sqlite import SQLiteStore

__all__ = ["record"]

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no SIGALRM here")


class TimeLimit(Exception):  # noqa: N818  # as Celery's SoftTimeLimitExceeded
    """An exception of the program's."""


class HardLimit(BaseException):
    """As gevent's Timeout."""


@pytest.fixture(autouse=True)
def _own_alarm():
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def alarm(handler):
    """Install it, and return what makes it strike here and now, once."""
    signal.signal(signal.SIGALRM, handler)
    struck = []

    def strike(*_):
        if not struck:
            struck.append(True)
            signal.raise_signal(signal.SIGALRM)

    return strike


def raising(error):
    """Handlers of every form that raises it."""

    def function(signum, frame):
        raise error

    def spread(*args):
        raise error

    def through_another(signum, frame):
        function(signum, frame)

    def gives_way(signum, frame):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        raise error

    def gives_way_spread(*args):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        raise error

    class Handler:
        def method(self, signum, frame):
            raise error

        def __call__(self, signum, frame):
            raise error

    return {
        "function": function,
        "lambda": lambda signum, frame: function(signum, frame),  # the form
        "spread": spread,
        "through another": through_another,
        "method": Handler().method,
        "object": Handler(),
        "partial": functools.partial(lambda extra, signum, frame: spread(), "extra"),
        "gives way": gives_way,
        "gives way, spread": gives_way_spread,
    }


FORMS = raising(None)


def strikes_in(place, handler, tmp_path):
    """A store at which the handler strikes while it is asked to write a start or a finish."""
    strike = alarm(handler)
    if place.startswith("memory"):
        return StoreOf(strike, at=place.split()[1])
    asked = []

    def clock():
        asked.append(True)
        if len(asked) == (1 if place.endswith("start") else 3):
            strike()
        return datetime.now(UTC)

    return SQLiteStore(tmp_path / "runs.db", clock=clock)


def forgetful(error):
    """Handlers that no longer have what they were called with when they raise."""

    def function(signum, frame):
        del signum, frame
        raise error

    def behind(extra, signum, frame):
        del extra, signum, frame
        raise error

    class Handler:
        def method(self, signum, frame):
            del signum, frame
            raise error

        def __call__(self, signum, frame):
            del signum, frame
            raise error

    return [function, Handler().method, Handler(), functools.partial(behind, "extra")]


@pytest.mark.parametrize("form", range(4), ids=["function", "method", "object", "partial"])
def test_a_handler_is_known_by_its_code(form):
    """Whatever has become of its arguments; and only while it is one."""
    error = TimeLimit("over")
    signal.signal(signal.SIGALRM, forgetful(error)[form])
    with pytest.raises(TimeLimit):
        signal.raise_signal(signal.SIGALRM)
    assert raised_by_handler(error) is error
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert raised_by_handler(error) is None


def test_a_method_that_gives_way_is_known_by_what_it_was_given():
    """Another handler stands in its place when it raises, and it names none of its arguments."""
    error = TimeLimit("over")

    class Handler:
        def method(self, *given):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            raise error

        def anything(*given):  # the form
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            raise error

    for handler in (Handler().method, Handler().anything):
        signal.signal(signal.SIGALRM, handler)
        with pytest.raises(TimeLimit):
            signal.raise_signal(signal.SIGALRM)
        assert raised_by_handler(error) is error
        error.__traceback__ = None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "place", ["memory start", "memory finish", "sqlite start", "sqlite finish"]
)
@pytest.mark.parametrize("kind", [TimeLimit, TimeoutError, HardLimit, SystemExit])
def test_what_a_handler_raises_inside_the_store_reaches_the_program(tmp_path, form, place, kind):
    """The very exception, at once; the run is ended; the job can run again."""
    error = kind("time is up")
    calls = []
    handler = raising(error)[form]
    with recording(store=strikes_in(place, handler, tmp_path)) as record:

        @cron_guarded
        def nightly():
            calls.append(True)

        with pytest.raises(kind) as caught:
            nightly()
        assert caught.value is error
        assert not record.runtime._open
        nightly()
        ended = "failure" if place.endswith("start") else "success"
        assert record.statuses("nightly") == [ended, "success"]
        assert len(calls) == (1 if place.endswith("start") else 2)


def test_a_time_limit_of_the_function_is_a_failure(record):
    """The usual case: it strikes in the function itself."""
    strike = alarm(raising(TimeLimit())["function"])
    job = cron_guarded(job="nightly")(strike)
    with pytest.raises(TimeLimit):
        job()
    assert record.statuses("nightly") == ["failure"]


def test_a_handled_limit_does_not_come_back(record, monkeypatch):
    """The job's exception may itself come of a handler; trouble at its recording is not that."""
    error = TimeLimit()
    strike = alarm(raising(error)["function"])

    def fail(*_):
        raise OSError

    @cron_guarded
    def nightly():
        try:
            strike()
        except TimeLimit:
            monkeypatch.setattr(record.store, "finish_run", fail)
            raise ValueError from None

    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the job's very own
        nightly()
    assert caught.value.__context__ is error


@pytest.mark.parametrize("trouble", [OSError(), TimeoutError(), ValueError(), KeyError()])
def test_trouble_that_no_handler_raised_stays_inside(tmp_path, trouble):
    """A store's own TimeoutError is not the program's."""
    alarm(raising(TimeLimit())["function"])

    def fail():
        raise trouble

    with recording(store=StoreOf(fail)):
        assert cron_guarded(job="nightly")(lambda: 1)() == 1


@pytest.mark.parametrize("at", ["start", "finish"])
def test_looking_for_handlers_runs_none_of_their_code(at):
    """Not even their ``repr``, which `signal.getsignal` asks for before 3.12."""
    shown = []

    class Handler:
        def __call__(self, signum, frame):
            pass

        def __repr__(self):
            shown.append(True)
            return "a handler"

    signal.signal(signal.SIGALRM, Handler())
    with recording(store=failing_store(StoreError("away"), at=at)):
        assert cron_guarded(job="nightly")(lambda: 5)() == 5
    assert not shown


def test_a_handler_striking_in_a_log_handler_reaches_the_program(record):
    """Saying something must not swallow a time limit either."""
    from cronguard import _log

    strike = alarm(raising(TimeLimit())["function"])

    def sink(line):
        strike()

    _log.echo(sink)
    try:
        with pytest.raises(TimeLimit):
            _log.warning("something is odd")
    finally:
        _log.echo(None)


@pytest.mark.parametrize("place", ["memory start", "memory finish"])
@pytest.mark.parametrize("job", ["nightly", "other"])
def test_a_handler_may_run_guarded_jobs(tmp_path, place, job):
    """Even in the middle of our own work; both runs are recorded, nothing hangs."""
    seen = []

    def handler(signum, frame):
        with guard(job=job, overlap="allow"):
            seen.append(True)

    with recording(store=strikes_in(place, handler, tmp_path)) as record:
        assert cron_guarded(job="nightly", overlap="allow")(lambda: "result")() == "result"
        assert seen == [True]
        assert sorted(record.statuses("nightly") + record.statuses("other")) == ["success"] * 2


@pytest.mark.parametrize("place", ["sqlite start", "sqlite finish"])
def test_a_handler_that_finds_the_file_in_use_is_let_through(tmp_path, place):
    """It does not wait for what it interrupts; what was not written comes later."""
    seen = []

    def handler(signum, frame):
        with guard(job="other"):
            seen.append(True)

    store = strikes_in(place, handler, tmp_path)
    store._file._timeout = 60
    start = time.monotonic()
    with recording(store=store) as record:
        job = cron_guarded(job="nightly")(lambda: "result")
        assert job() == "result"
        assert seen == [True]
        assert job() == "result"
        assert record.statuses("nightly") == ["success"] * 2
        assert record.statuses("other") == ["success"]
    assert time.monotonic() - start < 30


def test_a_handler_may_build_what_is_being_built(tmp_path, monkeypatch):
    """The very first run is being set up when a handler wants one as well."""
    from cronguard import _runtime

    built = []

    def handler(signum, frame):
        with guard(job="other"):
            pass

    strike = alarm(handler)
    compose = _runtime.compose

    def composing(*args, **kwargs):
        strike()
        built.append(True)
        return compose(*args, **kwargs)

    monkeypatch.setenv("CRONGUARD_STORE", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.setattr(_runtime, "compose", composing)
    monkeypatch.setattr(_runtime, "_current", None)
    assert cron_guarded(job="nightly")(lambda: "result")() == "result"
    assert built
    store = _runtime.current().store
    assert [run.status for job in ("nightly", "other") for run in store.history(job)] == [
        "success"
    ] * 2
    store.close()


def test_a_handler_may_dispatch_while_alerts_are_dispatched():
    """Both fail for the first time too often, one inside the other."""

    def handler(signum, frame):
        with pytest.raises(ValueError), guard(job="other", threshold=1):  # noqa: PT011
            raise ValueError

    strike = alarm(handler)
    with recording() as record:
        lock = record.runtime.courier._lock

        class Striking:
            def __enter__(self):
                lock.__enter__()
                strike()

            def __exit__(self, *error):
                return lock.__exit__(*error)

        record.runtime.courier._lock = Striking()

        @cron_guarded(threshold=1)
        def nightly():
            raise KeyError

        with pytest.raises(KeyError):
            nightly()
        assert {alert.job for alert in record.channel.wait(2)} == {"nightly", "other"}


@pytest.fixture
def ignored(monkeypatch):
    """What the interpreter itself swallows: alarms in the callbacks of weak references."""
    found = []
    monkeypatch.setattr("sys.unraisablehook", found.append)
    yield found
    found.clear()


@pytest.mark.parametrize(
    "alarms", [300, pytest.param(20_000, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_alarms_at_any_moment(tmp_path, ignored, alarms):
    """Each reaches the program exactly once, no run stays open, and the job still runs."""
    chance = random.Random()
    struck, caught, done = [], [], []

    def handler(signum, frame):
        struck.append(True)
        raise TimeLimit

    signal.signal(signal.SIGALRM, handler)
    with recording(store=SQLiteStore(tmp_path / "runs.db")) as record:

        @cron_guarded(threshold=1_000_000)
        def nightly():
            done.append(True)

        nightly()
        for _ in range(alarms):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 6e-4))
                    nightly()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except TimeLimit:
                caught.append(True)
            assert not record.runtime._open
        assert len(struck) == len(caught) + len(ignored)
        assert len(caught) > alarms // 20
        assert record.runtime.replay()
        assert not {"running", "skipped", "crashed"} & set(record.statuses("nightly"))
        assert len(record.statuses("nightly")) <= alarms + 1
        assert record.statuses("nightly").count("success") <= len(done)


def test_struck_while_an_error_that_is_false_is_read(record, monkeypatch):
    """An error is one whatever its truth value: the run failed, and the alarm goes on its way."""

    class Nothing(Exception):  # noqa: N818  # a library may have such a one
        def __bool__(self):
            return False

    def capture(_error):
        raise HardLimit

    @cron_guarded(job="nightly")
    def job():
        raise Nothing

    monkeypatch.setattr(record.runtime, "capture", capture)
    with pytest.raises(HardLimit):
        job()
    assert record.statuses("nightly") == ["failure"]
