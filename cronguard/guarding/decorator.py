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
from cronguard.core.model import Expectations
from cronguard.guarding.call import call_async, call_plain
from cronguard.runtime.runtime import Guarded
from cronguard.settings.options import (
    JobOptions,
    check_job_name,
    check_options,
)

if TYPE_CHECKING:
    _Wrapper = wrapt.FunctionWrapper[..., Any]
    _BoundWrapper = wrapt.BoundFunctionWrapper[..., Any]
else:  # generic only in its type stubs
    _Wrapper, _BoundWrapper = wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper

F = TypeVar("F", bound=Callable[..., Any])


@overload
def cron_guarded(func: F, /) -> F: ...
@overload
def cron_guarded(func: None = None, /, **options: Unpack[JobOptions]) -> Callable[[F], F]: ...
def cron_guarded(func: Any = None, /, **options: Unpack[JobOptions]) -> Any:
    """Guard a job: record each run, keep its streak of failures, alert when it reaches a threshold.

    Works with and without arguments, on functions, ``async def`` functions, methods and other
    callables. The function's result and exceptions come through unchanged. While another run of
    the job is open, the call is recorded as ``skipped`` and returns None (see ``overlap``).

    Args:
        job: Name of the job, 1 to 100 of ``[A-Za-z0-9._:-]``. None: the function's name.
        threshold: Alert when this many runs in a row have failed. At least 1.
        realert_every: Alert again after every N further failures. None: once per incident.
        channels: Names of the channels to notify. None: all that are set up.
        overlap: ``"skip"`` or ``"allow"`` a run while another one is open.
        max_runtime: Alert when a run takes longer; `timedelta` or seconds. None: never.
        schedule: Cron expression of when the job is expected, for ``cronguard check``. None: not
            checked.
        timezone: IANA time zone in which ``schedule`` is meant.
        grace: How late a scheduled run may start; `timedelta` or seconds.
        notify_recovery: Notify the channels that were notified of an incident when it is over.
        ignore: Exception types that end a run as ``cancelled``, which counts neither as a success
            nor as a failure.
        runbook: Https link shown in alerts.
        test_mode: Also send a test alert at the end of every run.

    Raises:
        ConfigError: An option is wrong.
        TypeError: The function is a generator: it would be recorded before its work is done.
    """
    if func is None:
        check_options(dict(options))
        return functools.partial(_guard_function, options=options)
    return _guard_function(func, options)


_USUAL = Expectations()
_DEFAULTS: dict[str, object] = {
    "job": None,
    "threshold": _USUAL.threshold,
    "realert_every": None,
    "channels": None,
    "overlap": "skip",
    "max_runtime": timedelta(seconds=_USUAL.max_runtime or 0),
    "schedule": None,
    "timezone": _USUAL.timezone,
    "grace": timedelta(seconds=_USUAL.grace),
    "notify_recovery": _USUAL.notify_recovery,
    "ignore": (),
    "runbook": None,
    "test_mode": False,
}
cron_guarded.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what help() shows
    [
        inspect.Parameter("func", inspect.Parameter.POSITIONAL_ONLY, default=None),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in _DEFAULTS.items()
        ),
    ]
)


def _guard_function(func: Any, options: JobOptions) -> Any:
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
    guarded = Guarded(checked)
    if inspect.iscoroutinefunction(plain):
        return GuardedFunction(func, guarded, call_async(guarded))
    return GuardedFunction(func, guarded, call_plain(guarded, wraps_async=_wraps_async(plain)))


_METHOD_TYPES = (classmethod, staticmethod, functools.partialmethod, functools.singledispatchmethod)
"""Wrappers that make a function a method; an object of these types need not be callable."""


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
