"""The decorator on plain functions: what comes in and out is the function's own."""

import contextlib
import functools
import gc
import inspect
import threading
import traceback
import weakref

import pytest
from support.record import record, recording

from cronguard import ConfigError, cron_guarded, guard
from cronguard.guarding.recording import _open_runs

__all__ = ["record"]


class Broken(Exception):  # noqa: N818  # the job's business
    """The job's own."""


def frames_of(error):
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


def raised_by(function, *args):
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # whatever it is
        function(*args)
    return caught.value


# --- runs inside runs ----------------------------------------------------------------------------


def test_the_same_job_further_inside_counts_once(record):
    """Also with another job between."""

    @cron_guarded
    def outer(depth):
        return inner(depth)

    @cron_guarded
    def inner(depth):
        return outer(depth - 1) if depth else "result"

    assert outer(3) == "result"
    assert (record.statuses("outer"), record.statuses("inner")) == (["success"], ["success"])


@pytest.mark.parametrize("error", [None, Broken("x")], ids=["success", "failure"])
def test_nothing_of_a_run_stays_in_its_context(record, error):
    """A run that is over is not kept alive by the thread that ran it."""

    @cron_guarded
    def nightly():
        if error:
            raise error

    with contextlib.suppress(Broken):
        nightly()
    assert _open_runs.get() == ()


# --- results and exceptions ----------------------------------------------------------------------


def test_the_very_result_comes_back(record):
    """What the function returns is handed over, the same object."""
    result = object()

    @cron_guarded
    def nightly(first, *, second):
        return first, second, result

    assert nightly(1, second=2)[2] is result
    assert record.statuses("nightly") == ["success"]


@pytest.mark.parametrize("woken", [RuntimeError, None], ids=["raises", "counts"])
def test_a_lazy_result_is_not_woken(record, woken):
    """What only comes to life when it is asked for its class, or cannot, is handed over asleep."""
    asked = []

    class Lazy:
        @property
        def __class__(self):
            asked.append(True)
            if woken:
                raise woken
            return dict

    result = Lazy()
    assert cron_guarded(job="nightly")(lambda: result)() is result
    assert not asked
    assert record.statuses("nightly") == ["success"]


def test_the_very_exception_comes_back(record):
    """Same object, cause, context and notes; one more frame of traceback at most."""
    cause, context, error = KeyError("cause"), ValueError("context"), Broken("it broke")
    error.add_note("a note of the job's")

    def nightly():
        try:
            raise context
        except ValueError:
            raise error from cause

    bare = len(frames_of(raised_by(nightly)))
    error.__traceback__ = None
    caught = raised_by(cron_guarded(nightly))
    assert caught is error
    assert caught.__cause__ is cause
    assert caught.__context__ is context
    assert caught.__suppress_context__
    assert caught.__notes__ == ["a note of the job's"]
    assert caught.args == ("it broke",)
    assert len(frames_of(caught)) <= bare + 1
    assert record.statuses("nightly") == ["failure"]
    assert record.runs("nightly")[0].failure.error_type.endswith("Broken")


def test_an_exception_without_context_gets_none(record):
    """cronguard's own troubles leave no trace on the exception that passes through."""
    error = Broken()

    @cron_guarded
    def nightly():
        raise error

    with recording(store=object()):  # nothing about it works
        assert raised_by(nightly) is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert not hasattr(error, "__notes__")


def test_an_exception_is_not_kept_alive(record):
    """Nothing of cronguard holds on to the job's exception, nor to what its frames hold."""

    @cron_guarded
    def nightly():
        raise Broken

    gc.collect()
    gc.disable()
    try:
        try:
            nightly()
        except Broken as error:
            remembered = weakref.ref(error)
        assert remembered() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("bomb", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("hostile", ["str", "repr", "eq", "attributes", "class"])
def test_hostile_exceptions_come_back_too(record, hostile, bomb):
    """An exception class may be as broken as it likes."""

    def explode(*_):
        raise bomb("not even this works")

    methods = {
        "str": {"__str__": explode},
        "repr": {"__repr__": explode, "__str__": explode},
        "eq": {"__eq__": explode, "__hash__": explode, "__bool__": explode},
        "attributes": {"__getattribute__": explode},
        "class": {"__class__": property(explode)},
    }[hostile]
    error = type("Hostile", (Exception,), methods)()

    @cron_guarded
    def nightly():
        raise error

    assert raised_by(nightly) is error
    assert record.statuses("nightly") == ["failure"]


def test_stop_iteration_passes(record):
    """It means something to the caller, so it is raised as it is."""

    @cron_guarded
    def step():
        raise StopIteration(3)

    assert raised_by(step).value == 3


# --- how a run ended -----------------------------------------------------------------------------


class Skip(Exception):  # noqa: N818  # as above
    """One of the job's own ways to say that there was nothing to do."""


class RaisesOnExit(SystemExit):
    """A subclass counts like its base."""


def celery(name):
    return type(
        name, (type("TaskPredicate", (Exception,), {}),), {"__module__": "celery.exceptions"}
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SystemExit(), "success"),
        (SystemExit(None), "success"),
        (SystemExit(0), "success"),
        (SystemExit(False), "success"),
        (RaisesOnExit(0), "success"),
        (SystemExit(1), "failure"),
        (SystemExit(0.0), "failure"),
        (SystemExit(""), "failure"),
        (SystemExit("it is broken"), "failure"),
        (KeyboardInterrupt(), "cancelled"),
        (Skip(), "cancelled"),
        (type("SkipMore", (Skip,), {})(), "cancelled"),
        (celery("Retry")(), "cancelled"),
        (celery("Ignore")(), "cancelled"),
        (celery("Reject")(), "cancelled"),
        (type("Mine", (celery("Retry"),), {"__module__": "tasks"})(), "cancelled"),
        (celery("MaxRetriesExceededError")(), "failure"),
        (type("Retry", (Exception,), {"__module__": "tasks"})(), "failure"),
        (GeneratorExit(), "failure"),
        (BaseException(), "failure"),
        (MemoryError(), "failure"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}{value.args}",
)
def test_how_a_run_ends(record, error, status):
    """Leaving on purpose is no failure; being told to stop is none either; all else is one."""

    @cron_guarded(ignore=(Skip,))
    def nightly():
        raise error

    assert raised_by(nightly) is error
    assert record.statuses("nightly") == [status]
    assert record.streaks("nightly") == [1 if status == "failure" else 0]


def test_recursion_to_the_limit_is_recorded(record):
    """A job that runs out of stack is a failed run like any other."""

    @cron_guarded
    def nightly():
        def deeper():
            deeper()

        deeper()

    assert isinstance(raised_by(nightly), RecursionError)
    assert record.statuses("nightly") == ["failure"]


# --- what can be guarded -------------------------------------------------------------------------


def test_it_still_looks_like_the_function():
    """Name, docstring, signature, annotations, module, source and attributes are the function's."""

    def nightly(day: int, *rest: str, dry: bool = False) -> str:
        """Send what is due."""

    nightly.tag = "a tag"
    guarded = cron_guarded(nightly)
    assert guarded.__name__ == "nightly"
    assert guarded.__qualname__ == nightly.__qualname__
    assert guarded.__doc__ == "Send what is due."
    assert guarded.__module__ == __name__
    assert guarded.__wrapped__ is nightly
    assert guarded.tag == "a tag"
    assert inspect.signature(guarded) == inspect.signature(nightly)
    assert inspect.get_annotations(guarded) == inspect.get_annotations(nightly)
    assert inspect.getsource(guarded) == inspect.getsource(nightly)
    assert inspect.isfunction(guarded)
    assert callable(guarded)
    assert not inspect.iscoroutinefunction(guarded)
    assert guarded == nightly
    assert len({guarded, nightly}) == 1
    guarded.tag = "another"
    assert nightly.tag == "another"


def test_the_decorator_explains_itself():
    """help(cron_guarded) shows the options with their defaults."""
    parameters = inspect.signature(cron_guarded).parameters
    assert parameters["threshold"].default == 2
    assert parameters["overlap"].default == "skip"
    assert parameters["test_mode"].default is False
    assert parameters["func"].kind is inspect.Parameter.POSITIONAL_ONLY


class Nightly:
    """Every kind of method, and a callable object."""

    def __init__(self, name="nightly"):
        self.name = name

    @cron_guarded(job="method")
    def method(self, what):
        return self.name, what

    @cron_guarded(job="class_outside")
    @classmethod
    def class_outside(cls, what):
        return cls, what

    @classmethod
    @cron_guarded(job="class_inside")
    def class_inside(cls, what):
        return cls, what

    @cron_guarded(job="static_outside")
    @staticmethod
    def static_outside(what):
        return what

    @staticmethod
    @cron_guarded(job="static_inside")
    def static_inside(what):
        return what

    @property
    @cron_guarded(job="property")
    def shown(self):
        return self.name

    @cron_guarded
    def own_name(self):
        return self.name

    def __call__(self, what):
        return self.name, what


class Heir(Nightly):
    """Class methods must see it, not the class that defines them."""


def test_methods_of_every_kind(record):
    """self and cls arrive, called on the class or on an instance, defined under or over."""
    heir = Heir("heir")
    assert heir.method(1) == ("heir", 1)
    assert Nightly.method(heir, 1) == ("heir", 1)
    assert record.statuses("method") == ["success"] * 2
    for owner in (heir, Heir):
        assert owner.class_outside(2) == (Heir, 2)
        assert owner.class_inside(3) == (Heir, 3)
        assert owner.static_outside(4) == 4
        assert owner.static_inside(5) == 5
    for job in ("class_outside", "class_inside", "static_outside", "static_inside"):
        assert record.statuses(job) == ["success"] * 2
    assert heir.shown == "heir"
    assert record.statuses("property") == ["success"]
    assert heir.own_name() == "heir"
    assert record.statuses("own_name") == ["success"]
    assert heir.method == heir.method
    assert heir.method.__self__ is heir


def test_partials_lambdas_objects_classes_and_builtins(record):
    """Whatever can be called can be guarded; what has no name of its own is given one."""
    add = functools.partial(lambda a, b: a + b, 1)
    assert cron_guarded(job="partial")(add)(2) == 3
    assert cron_guarded(job="lambda")(lambda: 4)() == 4
    assert cron_guarded(job="object")(Nightly("object"))(5) == ("object", 5)
    assert cron_guarded(job="builtin")(len)("four") == 4
    assert isinstance(cron_guarded(job="class")(Nightly)(), Nightly)
    assert cron_guarded(functools.partial(Nightly.static_inside.__wrapped__, 6))() == 6
    for job in ("partial", "lambda", "object", "builtin", "class", "static_inside"):
        assert record.statuses(job) == ["success"], job


class Dispatching:
    """Methods that functools makes, which are not functions themselves."""

    def add(self, one, other):
        return one + other

    add_two = cron_guarded(job="partial_method")(functools.partialmethod(add, 2))

    @cron_guarded(job="single_dispatch")
    @functools.singledispatchmethod
    def kind(self, what):
        return "something"

    @kind.register
    def _(self, what: int):
        return "a number"


def test_methods_that_functools_makes(record):
    """partialmethod and singledispatchmethod, the guard outside."""
    made = Dispatching()
    assert made.add_two(3) == 5
    assert [made.kind("word"), made.kind(4)] == ["something", "a number"]
    assert record.statuses("partial_method") == ["success"]
    assert record.statuses("single_dispatch") == ["success"] * 2


@pytest.mark.parametrize(
    "nameless",
    [lambda: None, functools.partial(lambda: None), Nightly()],
    ids=["λ", "partial", "object"],
)
def test_what_has_no_name_must_be_given_one(nameless):
    """One line that says what to write."""
    with pytest.raises(ConfigError, match="pass job="):
        cron_guarded(nameless)


@pytest.mark.parametrize("nothing", ["nightly", 3, object()])
def test_what_cannot_be_called_cannot_be_guarded(nothing):
    """The likeliest mistake, the name as first argument, is told how to write it."""
    with pytest.raises(ConfigError, match="job="):
        cron_guarded(nothing)


@pytest.mark.parametrize("kind", [property, functools.cached_property])
def test_a_property_is_guarded_below_its_decorator(kind):
    """The other way round there is no function to guard, and where to put it is said."""
    with pytest.raises(ConfigError, match="not a property: put it below @property"):
        cron_guarded(job="a")(kind(lambda self: 1))


def generator():
    yield 1


async def async_generator():
    yield 1


class Generates:
    def __call__(self):
        yield 1


@pytest.mark.parametrize(
    "lazy",
    [
        generator,
        async_generator,
        Generates(),
        functools.partial(generator),
        staticmethod(generator),
        functools.partial(async_generator),
        contextlib.contextmanager(generator),
        contextlib.asynccontextmanager(async_generator),
    ],
    ids=["def", "async def", "object", "partial", "static", "partial async", "with", "async with"],
)
def test_generators_are_refused(lazy):
    """Their call does no work yet: TypeError at decoration, with the way out."""
    with pytest.raises(TypeError, match="guard the function that consumes it"):
        cron_guarded(job="nightly")(lazy)


def test_a_job_inside_a_context_manager_used_as_decorator(record):
    """It is the function that is called, whatever is entered around it."""

    @contextlib.contextmanager
    def around():
        yield

    @cron_guarded
    @around()
    def nightly():
        return 5

    assert nightly() == 5
    assert record.statuses("nightly") == ["success"]


def test_guarding_twice_counts_once(record):
    """Two decorators of the same job around one function are one run."""
    guarded = cron_guarded(job="nightly")(cron_guarded(job="nightly")(lambda: 1))
    assert guarded() == 1
    assert record.statuses("nightly") == ["success"]


# --- runs within runs, runs beside runs ----------------------------------------------------------


def test_the_same_job_inside_itself_counts_once(record):
    """The outer run is the run: recursion, and another function of the same job."""

    @cron_guarded
    def nightly(depth):
        with guard(job="nightly") as run:
            assert run.run_id is None
        return nightly(depth - 1) + 1 if depth else 0

    assert nightly(3) == 3
    assert record.statuses("nightly") == ["success"]
    assert nightly(1) == 1
    assert record.statuses("nightly") == ["success"] * 2


def test_a_failure_inside_that_is_handled_is_none(record):
    """Only how the outermost call ends counts."""

    @cron_guarded
    def nightly(inner=False):
        if inner:
            raise Broken
        with pytest.raises(Broken):
            nightly(inner=True)

    nightly()
    assert record.statuses("nightly") == ["success"]


def test_different_jobs_nested_both_count(record):
    """One job may call another; each has its own row and outcome."""

    @cron_guarded
    def inner():
        raise Broken

    @cron_guarded
    def outer():
        with pytest.raises(Broken):
            inner()

    outer()
    assert record.statuses("inner") == ["failure"]
    assert record.statuses("outer") == ["success"]


def test_a_second_run_is_skipped_while_one_is_open(record, caplog):
    """None, the function is not called, a row says so, and a warning does."""
    started, go_on, calls = threading.Event(), threading.Event(), []

    @cron_guarded
    def nightly(who):
        calls.append(who)
        started.set()
        assert go_on.wait(30)
        return who

    first = threading.Thread(target=nightly, args=("first",))
    first.start()
    assert started.wait(30)
    try:
        assert nightly("second") is None
        assert nightly("third") is None
    finally:
        go_on.set()
        first.join(30)
    assert calls == ["first"]
    assert sorted(record.statuses("nightly")) == ["skipped", "skipped", "success"]
    warnings = [entry for entry in caplog.records if entry.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "nightly was skipped" in warnings[0].getMessage()
    assert nightly("fourth") == "fourth"


def test_overlapping_runs_keep_apart(record):
    """With overlap="allow" each run has an outcome of its own, whichever ends first."""
    both = threading.Barrier(2)

    @cron_guarded(overlap="allow")
    def nightly(error):
        both.wait(30)
        if error:
            raise error

    def run(error):
        with pytest.raises(Broken):
            nightly(error)

    thread = threading.Thread(target=run, args=(Broken(),))
    thread.start()
    nightly(None)
    thread.join(30)
    assert sorted(record.statuses("nightly")) == ["failure", "success"]


def test_many_threads_lose_nothing(record):
    """Every call of every thread has its row, and the streak counts them all."""

    @cron_guarded(overlap="allow", threshold=1000)
    def nightly():
        raise Broken

    def hammer():
        for _ in range(25):
            with pytest.raises(Broken):
                nightly()

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert record.statuses("nightly") == ["failure"] * 200
    assert sorted(record.streaks("nightly")) == list(range(1, 201))


@pytest.mark.parametrize("options", [{}, {"lazy": False}])
@pytest.mark.parametrize("decorate", [cron_guarded, cron_guarded(job="nightly")])
def test_a_celery_task_is_refused(options, decorate):
    """Above @app.task it would guard nothing; a lazy task is not touched for finding out."""
    from celery import Celery

    app = Celery(set_as_current=False)

    def nightly():
        pass

    task = app.task(**options)(nightly)
    with pytest.raises(ConfigError, match="put it below"):
        decorate(task)
    assert options or not task.__evaluated__(), "untouched"
    assert app.task(cron_guarded(job="nightly")(nightly)) is not None
