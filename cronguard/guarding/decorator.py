"""The decorator `cron_guarded`: it only wraps.

What a run is and how it is recorded is up to `recording`. The function's result and its own
exception come through unchanged, with one frame of ours in the traceback.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import wrapt

from cronguard.core.errors import ConfigError
from cronguard.guarding.call import call_async, call_plain
from cronguard.runtime.runtime import Guarded
from cronguard.settings.job_values import check_job_name
from cronguard.settings.options import JOB_OPTIONS, check_options

if TYPE_CHECKING:
    from cronguard.settings.options import JobOption, JobOptions

    _Wrapper = wrapt.FunctionWrapper[..., Any]
    _BoundWrapper = wrapt.BoundFunctionWrapper[..., Any]
else:  # generic only in its type stubs
    _Wrapper, _BoundWrapper = wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper

F = TypeVar("F", bound=Callable[..., Any])
decorated: set[str] = set()
"""The names of all jobs that this process has decorated."""


@overload
def cron_guarded(func: F, /) -> F: ...
@overload
def cron_guarded(func: None = None, /, **options: Unpack[JobOptions]) -> Callable[[F], F]: ...
def cron_guarded(func: Any = None, /, **options: Unpack[JobOptions]) -> Any:
    """Guard a job: record each run, keep its streak of failures, alert when it reaches a threshold.

    Works with and without arguments, on functions, ``async def`` functions, methods and other
    callables. The function's result and exceptions come through unchanged. While another run of
    the job is open, the call is recorded as ``skipped`` and returns None (see ``overlap``).

    The options are those of `cronguard.settings.options.JOB_OPTIONS`; ``help()`` lists them. A
    duration is a `timedelta`, a text such as ``"1h30m"``, or a number of seconds.

    Raises:
        ConfigError: An option is wrong.
        TypeError: The function is a generator: it would be recorded before its work is done.
    """
    if func is None:
        check_options(dict(options))
        return functools.partial(_guard_function, options=options)
    return _guard_function(func, options)


def _help(option: JobOption) -> str:
    meaning = f" None: {option.none}." if option.none else ""
    return f"\n        {option.name}: {option.help}.{meaning}"


def _parameter(option: JobOption) -> inspect.Parameter:
    default: Any = option.default
    if option.is_duration:
        default = timedelta(seconds=default)
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default)


_IN_CODE = [option for option in JOB_OPTIONS.values() if "code" in option.places]
# What help() shows.
cron_guarded.__doc__ = f"{cron_guarded.__doc__}\n    Args:{''.join(map(_help, _IN_CODE))}"
cron_guarded.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("func", inspect.Parameter.POSITIONAL_ONLY, default=None),
        *map(_parameter, _IN_CODE),
    ]
)


def _guard_function(func: Any, options: JobOptions) -> Any:
    if _is_celery_task(func):
        raise ConfigError(
            "cron_guarded stands above a Celery task, where it would guard nothing that a worker"
            " runs: put it below @app.task"
        )
    if isinstance(func, property | functools.cached_property):
        raise ConfigError(
            "cron_guarded guards a function, not a property: put it below @property, or guard"
            " what does the work"
        )
    if not callable(func) and not isinstance(func, _METHOD_TYPES):
        raise ConfigError(
            f"cron_guarded guards a function, not {type(func).__name__}: write"
            ' @cron_guarded(job="name"), with the name as a keyword'
        )
    plain = _unwrapped(func)
    worker = _below_context_manager(plain)
    if inspect.isgeneratorfunction(worker) or inspect.isasyncgenfunction(worker):
        raise TypeError(
            f"{getattr(plain, '__qualname__', 'this')} is a generator function: calling it does no"
            " work yet, so it would be recorded too early; guard the function that consumes it"
        )
    checked = check_options(dict(options))
    if checked.get("job") is None:
        checked["job"] = _default_job_name(plain)
    decorated.add(checked["job"])
    guarded = Guarded(checked)
    if inspect.iscoroutinefunction(plain):
        return GuardedFunction(func, guarded, call_async(guarded))
    return GuardedFunction(func, guarded, call_plain(guarded, wraps_async=_wraps_async(plain)))


_METHOD_TYPES = (classmethod, staticmethod, functools.partialmethod, functools.singledispatchmethod)
"""Wrappers that make a function a method; an object of these types need not be callable."""
_CELERY_TASKS = {("celery.app.task", "Task"), ("celery.local", "Proxy")}


def _is_celery_task(func: Any) -> bool:
    """Tell whether the function is a task of Celery's, by its type's name.

    It may be a lazy one: whatever asks that for its class or an attribute finalises the app.
    """
    return any((kind.__module__, kind.__name__) in _CELERY_TASKS for kind in type.mro(type(func)))


def _unwrapped(func: Any) -> Any:
    """Return the function that does the work, below partials, methods and ``__call__``."""
    while True:
        if isinstance(
            func, functools.partial | functools.partialmethod | functools.singledispatchmethod
        ):
            func = func.func
        elif isinstance(func, classmethod | staticmethod) or inspect.ismethod(func):
            func = func.__func__
        elif inspect.isroutine(func) or inspect.isclass(func):
            return func
        else:
            call = getattr(type(func), "__call__", None)  # noqa: B004  # we need the function
            return call if inspect.isfunction(call) else func


def _below_context_manager(plain: Any) -> Any:
    """Return the generator function below `contextlib.contextmanager`, else ``plain`` itself."""
    if getattr(plain, "__globals__", None) is not vars(contextlib):
        return plain
    return getattr(plain, "__wrapped__", plain)


def _wraps_async(plain: Any) -> bool:
    """Tell whether the function is another decorator's wrapper of an asynchronous function."""
    try:
        return inspect.iscoroutinefunction(inspect.unwrap(plain))
    except ValueError:  # ``__wrapped__`` leads back to itself
        return False


def _default_job_name(plain: Any) -> str:
    name = getattr(plain, "__name__", None)
    if not name or name in {"<lambda>", "__call__"}:
        raise ConfigError(
            "this callable has no name of its own to call the job by: pass job=, for example"
            ' @cron_guarded(job="nightly_export")'
        )
    return check_job_name(name)


class _BoundGuardedFunction(_BoundWrapper):
    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        owner = getattr(self, "__self__", None)
        if owner is None:
            return _named, (self.__module__, self.__qualname__)
        return getattr, (owner, _attribute_name(owner, self._self_parent) or self.__name__)

    def __copy__(self) -> _BoundGuardedFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        owner = getattr(self, "__self__", None)
        if owner is None or inspect.isclass(owner):
            return self
        name = _attribute_name(owner, self._self_parent)
        return getattr(copy.deepcopy(owner, memo), name) if name else self


class GuardedFunction(_Wrapper):
    """A guarded callable: it behaves as the wrapped one, and each call is recorded as a run."""

    __bound_function_wrapper__ = _BoundGuardedFunction

    def __init__(self, func: Any, guarded: Guarded, call: Callable[..., Any]) -> None:
        super().__init__(func, call)
        self._self_guarded = guarded

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        name = getattr(self, "__qualname__", None)
        if name is not None:
            try:
                if _named(self.__module__, name) is self:
                    return str(name)
            except (AttributeError, ImportError):
                pass  # bound under another name, or not reachable by name at all
        return _guard_function, (self.__wrapped__, self._self_guarded.options)

    def __copy__(self) -> GuardedFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GuardedFunction:
        return self


def _named(module: str, qualname: str) -> Any:
    """Return the object with a qualified name in a module."""
    return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))


def _attribute_name(owner: Any, guarded: Any) -> str | None:
    """Return the attribute that holds the guarded function in the owner or its class, or None."""
    for kind in (owner if inspect.isclass(owner) else type(owner)).__mro__:
        for name, value in vars(kind).items():
            if value is guarded:
                return name
    return None
