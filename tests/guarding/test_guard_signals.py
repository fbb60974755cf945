"""A program's own signal handlers, striking while cronguard is at work.

What they raise must reach the program, whatever we were doing; what they call may be guarded.
"""

import functools
import gc
import os
import random
import signal
import sys
import time
import traceback
import weakref
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from support.hostile import answers, serve
from support.processes import Place
from support.record import StoreOf, failing_store, record, recording

from cronguard import StoreError, cron_guarded, guard
from cronguard.guarding.recording import Recording
from cronguard.privacy import capture, error_code, error_location, redaction
from cronguard.process import signals, workers
from cronguard.process.signals import attempt, raised_by_handler
from cronguard.stores.sqlite.store import SQLiteStore

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
        if len(asked) == (1 if place.endswith("start") else 2):
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


def test_ctrl_c_is_known_by_its_having_no_raise():
    """Python's own handler has no frame; a KeyboardInterrupt that somebody raises is not it."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt) as struck:
        signal.raise_signal(signal.SIGALRM)
    assert raised_by_handler(struck.value) is struck.value

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        interrupt()
    assert raised_by_handler(raised.value) is None
    assert raised_by_handler(KeyboardInterrupt()) is None


def test_what_failed_is_not_held_on_to():
    """What an attempt's error has passed through is let go of at once, as after any ``except``."""

    class Large:
        pass

    held = []

    def fail():
        large = Large()
        held.append(weakref.ref(large))
        raise ValueError

    gc.disable()
    try:
        assert attempt(fail) is None
        assert held[0]() is None
    finally:
        gc.enable()


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
        assert not record.runtime.open_runs._open
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
    from cronguard.process import log

    strike = alarm(raising(TimeLimit())["function"])

    def sink(line):
        strike()

    log.echo(sink)
    try:
        with pytest.raises(TimeLimit):
            log.warning("something is odd")
    finally:
        log.echo(None)


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
    from cronguard.runtime import composition

    built = []

    def handler(signum, frame):
        with guard(job="other"):
            pass

    strike = alarm(handler)
    compose = composition.compose

    def composing(*args, **kwargs):
        strike()
        built.append(True)
        return compose(*args, **kwargs)

    monkeypatch.setenv("CRONGUARD_STORE", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.setattr(composition, "compose", composing)
    monkeypatch.setattr(composition, "_current", None)
    assert cron_guarded(job="nightly")(lambda: "result")() == "result"
    assert built
    store = composition.current().store
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
        lock = record.runtime.dispatcher._lock

        class Striking:
            def __enter__(self):
                lock.__enter__()
                strike()

            def __exit__(self, *error):
                return lock.__exit__(*error)

        record.runtime.dispatcher._lock = Striking()

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


@pytest.fixture
def struck():
    """How many signals have come, counted by the interpreter: Ctrl-C's own handler cannot tell."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    yield lambda: len(os.read(reader, 1 << 16))
    signal.set_wakeup_fd(-1)
    os.close(reader)
    os.close(writer)


STORMS = {"goes well": (None, TimeLimit), "fails": (ValueError("no luck"), TimeLimit)}
STORMS["fails, the alarm looks like the disk's trouble"] = (ValueError("no luck"), TimeoutError)
STORMS["fails, with Ctrl-C"] = (KeyError("no luck", 5), KeyboardInterrupt)


@pytest.fixture
def no_garbage_collection():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("storm", STORMS)
@pytest.mark.parametrize(
    "alarms", [300, pytest.param(20_000, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_alarms_at_any_moment(tmp_path, ignored, struck, alarms, storm):
    """Each reaches the program exactly once, no run stays open, and the job still runs.

    What trouble needs is loaded first: Python's own import passes over an OSError while it looks
    for a file, and so may swallow an alarm that looks like one. Nor is garbage collected meanwhile:
    an alarm that strikes in what closes a file that is garbage is swallowed by the interpreter.
    """
    chance = random.Random()
    error, limit = STORMS[storm]
    caught, others, done, struck_at, lost = [], [], [], [], []

    def handler(signum, frame):
        struck_at.append("".join(traceback.format_stack(frame)[-8:]))
        raise limit

    ctrl_c = limit is KeyboardInterrupt
    signal.signal(signal.SIGALRM, signal.default_int_handler if ctrl_c else handler)
    with recording(store=SQLiteStore(tmp_path / "runs.db")) as record:

        @cron_guarded(threshold=1_000_000)
        def nightly():
            done.append(True)
            if error is not None:
                raise error.with_traceback(None)

        def call():
            try:
                nightly()
            except (ValueError, KeyError) as raised:
                others.append(raised)

        call()
        record.runtime.preload()
        for number in range(alarms):
            if number % 1000 == 0:
                gc.collect()
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 6e-4))
                    call()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except limit:
                caught.append(True)
                struck_at.clear()
            lost += struck_at
            struck_at.clear()
            assert not record.runtime.open_runs._open
        unseen = [each for each in ignored if each.exc_type is limit]  # no warnings
        assert struck() == len(caught) + len(unseen), "\n".join(lost)
        assert len(caught) > alarms // 20
        assert all(raised is error for raised in others)
        record.runtime.store.replay()
        assert record.runtime.store.waiting() == 0
        assert not {"running", "skipped", "crashed"} & set(record.statuses("nightly"))
        assert len(record.statuses("nightly")) <= alarms + 1
        assert record.statuses("nightly").count("success") <= (0 if error else len(done))


@pytest.mark.parametrize("face", ["decorator", "context manager"])
def test_struck_when_the_function_has_failed(record, monkeypatch, face):
    """Between the function's error and our judging it: the run ends all the same."""
    leave = Recording.leave

    def struck(self):
        strike()
        leave(self)

    @cron_guarded
    def nightly():
        raise ValueError

    def body():
        with guard(job="nightly"):
            raise ValueError

    strike = alarm(raising(TimeLimit())["function"])
    monkeypatch.setattr(Recording, "leave", struck)
    with pytest.raises(TimeLimit):
        (nightly if face == "decorator" else body)()
    assert not record.runtime.open_runs._open
    assert record.statuses("nightly") == ["failure"]


def test_a_time_limit_is_not_taken_for_a_closed_file(tmp_path, monkeypatch):
    """A TimeoutError that strikes in the look at our own file says nothing about the file."""
    look = os.fstat

    def struck(number):
        strike()
        return look(number)

    store = SQLiteStore(tmp_path / "runs.db")
    with recording(store=store) as record:
        nightly = cron_guarded(job="nightly")(lambda: "result")
        assert nightly() == "result"
        strike = alarm(raising(TimeoutError())["function"])
        monkeypatch.setattr(os, "fstat", struck)
        with pytest.raises(TimeoutError):
            nightly()
        assert nightly() == "result"
        assert record.statuses("nightly") == ["success", "failure", "success"]


OUR_OS = SimpleNamespace(**vars(os))
"""Struck in this, nobody else is."""


class TestWhileAnErrorIsRead:
    """Whatever catches the troubles of reading lets through what a handler raises."""

    @pytest.fixture(params=[TimeLimit, TimeoutError, HardLimit, SystemExit, KeyboardInterrupt])
    def limit(self, request):
        """What the alarm raises: as a program's own handler does, or as Ctrl-C."""
        return request.param

    @pytest.fixture
    def strike(self, limit):
        """Makes the alarm strike, once."""
        own = raising(limit("time is up"))["function"]
        return alarm(signal.default_int_handler if limit is KeyboardInterrupt else own)

    def is_let_through(self, record, limit, error):
        """At once, by a run that has ended; the job can run again."""

        @cron_guarded(job="nightly")
        def job():
            raise error

        with pytest.raises(limit):
            job()
        assert not record.runtime.open_runs._open
        with pytest.raises(type(error)) as caught:
            job()
        assert caught.value is error
        assert record.statuses("nightly") == ["failure"] * 2

    @pytest.mark.parametrize(
        ("where", "name"),
        [
            (capture, "error_type"),
            (capture, "error_code"),
            (capture, "error_location"),
            (redaction, "redact_error"),
            (redaction, "redact_message"),
            (error_code, "getattr"),
            (OUR_OS, "getcwd"),
        ],
        ids=lambda value: getattr(value, "__name__", value),
    )
    def test_a_plain_error(self, record, monkeypatch, limit, strike, where, name):  # noqa: PLR0917
        """It is read where it was raised, by nobody's code but ours: wherever that is."""
        work = getattr(where, name, getattr)

        def struck(*args, **keywords):
            strike()
            return work(*args, **keywords)

        monkeypatch.setattr(error_location, "os", OUR_OS)
        error_location._shown.clear()
        monkeypatch.setattr(where, name, struck, raising=False)
        self.is_let_through(record, limit, ValueError("no luck"))

    def test_what_reads_it_is_loaded(self, record, monkeypatch, limit, strike):
        """In the program's own thread, before another one reads an error that is not plain."""
        work = capture.import_module

        def struck(name):
            strike()
            return work(name)

        monkeypatch.setattr(capture, "import_module", struck)
        self.is_let_through(record, limit, OSError(2, "no such file"))

    @pytest.mark.parametrize("place", ["__str__", "sqlstate", "__notes__", "redactor"])
    def test_where_no_thread_can_be_had(self, monkeypatch, limit, strike, place):
        """Somebody else's code runs where it was raised."""

        def no_thread():
            raise workers.NoThread

        def read(self):
            if place == self:
                strike()
            return "anything"

        class OwnError(Exception):
            __str__ = lambda self: read("__str__")  # noqa: E731
            sqlstate = property(lambda self: read("sqlstate"))
            __notes__ = property(lambda self: read("__notes__"))

        monkeypatch.setattr(workers, "_take_worker", no_thread)
        redact = (lambda text, error: read("redactor")) if place == "redactor" else "scrub"
        with recording(redact=redact) as record:
            self.is_let_through(record, limit, OwnError())


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


# --- Ctrl-C that nobody handles -------------------------------------------------------------------

STOPPED = """
    import os, signal, sys, threading, time
    from cronguard.process.threads import own_thread, start

    def compile_a_text():
        threading.main_thread().join()
        exec("1")

    start(own_thread("late", compile_a_text))
    {how}
"""


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("sys.exit(3)", 3),
        ("sys.last_value = KeyboardInterrupt()", 0),
        ("raise ValueError", 1),
    ],
)
def test_ctrl_c_while_a_thread_compiles_text(tmp_path, how, code):
    """It ends the process by SIGINT, which CPython would forget; nothing else does."""
    place = Place(tmp_path)
    assert place.run(STOPPED.format(how=how)).returncode == code


def test_ctrl_c_while_an_alert_is_on_its_way(tmp_path):
    """The same with the modules that a webhook takes, and the alert arrives."""
    place = Place(tmp_path)
    hook = answers()
    with serve(hook) as server:
        done = place.run(
            """
            import os, signal, time
            try:
                with guard(job="nightly", threshold=1):
                    raise ValueError
            except ValueError:
                pass
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
            """,
            env={"CRONGUARD_WEBHOOK_URL": server.url},
        )
    assert done.returncode == -signal.SIGINT
    assert len(hook.received) == 1


def test_ctrl_c_in_a_session_that_went_on(monkeypatch):
    """In an interactive session it is an old story by the time the session ends."""
    with pytest.raises(KeyboardInterrupt) as raised:
        exec("raise KeyboardInterrupt", vars(sys.modules[__name__]))
    caught = raised.value.with_traceback(raised.tb.tb_next)
    monkeypatch.setattr(sys, "last_value", caught, raising=False)
    monkeypatch.setattr(sys, "last_exc", caught, raising=False)
    assert not signals._program_ended_by_ctrl_c()  # this module is not the program
    monkeypatch.setitem(sys.modules, "__main__", sys.modules[__name__])
    assert signals._program_ended_by_ctrl_c()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert not signals._program_ended_by_ctrl_c()
