"""The decorator `cron_guarded`. Wrapping only.

What a run is and how it is recorded is `recording`'s business; here a function's result and its
very exception come through unchanged, with one frame of ours in the traceback.
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
from cronguard.settings.options import (
    DEFAULT_GRACE,
    DEFAULT_MAX_RUNTIME,
    DEFAULT_THRESHOLD,
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

    Works bare and with arguments, on functions, ``async def`` functions, methods and other
    callables. The function's result and exceptions come through unchanged; while another run of
    the job is open the call is recorded as ``skipped`` and returns None (see ``overlap``).

    Args:
        job: name of the job, 1 to 100 of ``[A-Za-z0-9._:-]``. None: the function's name.
        threshold: alert when this many runs in a row have failed. At least 1.
        realert_every: alert again after every N further failures. None: once an incident.
        channels: names of the channels to tell. None: all that are set up.
        overlap: ``"skip"`` or ``"allow"`` a run while another one is open.
        max_runtime: alert when a run takes longer; `timedelta` or seconds. None: never.
        schedule: cron expression of when the job is expected, for ``cronguard check``. None: not
            checked.
        timezone: IANA time zone in which ``schedule`` is meant.
        grace: how late a scheduled run may start; `timedelta` or seconds.
        notify_recovery: tell the channels when a job they were told of works again.
        ignore: exception types that end a run as ``cancelled``, which counts for nothing.
        runbook: https link shown in alerts.
        test_mode: send a test alert at the end of every run as well.

    Raises:
        ConfigError: an option is wrong.
        TypeError: the function is a generator: it would be recorded before its work is done.
    """
    if func is None:
        check_options(dict(options))
        return functools.partial(_guard_function, options=options)
    return _guard_function(func, options)


_DEFAULTS: dict[str, object] = {
    "job": None,
    "threshold": DEFAULT_THRESHOLD,
    "realert_every": None,
    "channels": None,
    "overlap": "skip",
    "max_runtime": timedelta(seconds=DEFAULT_MAX_RUNTIME),
    "schedule": None,
    "timezone": "UTC",
    "grace": timedelta(seconds=DEFAULT_GRACE),
    "notify_recovery": False,
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
    if not callable(func) and not isinstance(func, _METHODS):
        raise ConfigError(
            f"cron_guarded guards a function, not {type(func).__name__}: write"
            ' @cron_guarded(job="name"), with the name as a keyword'
        )
    plain = _unwrapped(func)
    worker = _of_context_manager(plain)
    if inspect.isgeneratorfunction(worker) or inspect.isasyncgenfunction(worker):
        raise TypeError(
            f"{getattr(plain, '__qualname__', 'this')} is a generator function: calling it does no"
            " work yet, so it would be recorded too early; guard the function that consumes it"
        )
    checked = check_options(dict(options))
    if checked.get("job") is None:
        checked["job"] = _name_of(plain)
    guarded = Guarded(checked)
    if inspect.iscoroutinefunction(plain):
        return GuardedFunction(func, guarded, call_async(guarded))
    return GuardedFunction(func, guarded, call_plain(guarded, wraps_async=_wraps_async(plain)))


_METHODS = (classmethod, staticmethod, functools.partialmethod, functools.singledispatchmethod)
"""What makes a function a method and need not be callable itself."""


def _unwrapped(func: Any) -> Any:
    """The function whose code says what a call does: through partials, methods and ``__call__``."""
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
            call = getattr(type(func), "__call__", None)  # noqa: B004  # the function is wanted
            return call if inspect.isfunction(call) else func


def _of_context_manager(plain: Any) -> Any:
    """The generator function under `contextlib.contextmanager`; anything else as it is."""
    if getattr(plain, "__globals__", None) is not vars(contextlib):
        return plain
    return getattr(plain, "__wrapped__", plain)


def _wraps_async(plain: Any) -> bool:
    """Whether other decorators stand between us and an asynchronous function."""
    try:
        return inspect.iscoroutinefunction(inspect.unwrap(plain))
    except ValueError:  # a circle
        return False


def _name_of(plain: Any) -> str:
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
        return getattr, (owner, _attribute(owner, self._self_parent) or self.__name__)

    def __copy__(self) -> _BoundGuardedFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        owner = getattr(self, "__self__", None)
        if owner is None or inspect.isclass(owner):
            return self
        name = _attribute(owner, self._self_parent)
        return getattr(copy.deepcopy(owner, memo), name) if name else self


class GuardedFunction(_Wrapper):
    """A guarded callable: everything of the wrapped one, and a run recorded for each call."""

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
                pass  # bound under another name, or not to be found again at all
        return _guard_function, (self.__wrapped__, self._self_guarded.options)

    def __copy__(self) -> GuardedFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GuardedFunction:
        return self


def _named(module: str, qualname: str) -> Any:
    """What a qualified name leads to."""
    return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))


def _attribute(owner: Any, guarded: Any) -> str | None:
    """The name under which the owner, or the owner's class, has the guarded function."""
    for kind in (owner if inspect.isclass(owner) else type(owner)).__mro__:
        for name, value in vars(kind).items():
            if value is guarded:
                return name
    return None
