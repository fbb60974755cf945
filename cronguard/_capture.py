"""What is kept of an error: exception → `Failure`, already redacted. Nothing here ever raises."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from cronguard import _log
from cronguard._error_code import error_code, exit_name
from cronguard._error_place import error_location
from cronguard._error_type import error_type
from cronguard._mask import clean
from cronguard._settings_types import Redact
from cronguard.model import Failure


def capture(
    error: BaseException, *, redact: Redact = "strict", keep: Sequence[str] = ()
) -> Failure:
    """What may be kept of an error. ``keep`` is `redact_keep` of the settings.

    Costs some microseconds with ``strict`` and a bounded time with ``scrub``, however long the
    message, the traceback or the chain of causes (the error's own ``str()`` apart).
    """
    return Failure(
        error_type=_attempt(error_type, error) or "BaseException",
        error_code=_attempt(error_code, error),
        error_message=None if redact == "strict" else _message(error, "", redact, keep),
        error_location=_attempt(error_location, error),
    )


def load(redact: Redact) -> None:
    """Load now what a first `capture` would load, so that its time is the error's own."""
    if redact == "scrub":
        with contextlib.suppress(Exception):
            from cronguard import _redact  # noqa: F401  # strict does without


def capture_output(
    tail: str, code: int, *, redact: Redact = "strict", keep: Sequence[str] = ()
) -> Failure:
    """What may be kept of a command that failed: ``code`` as `subprocess` gives it, -9 for SIGKILL.

    ``tail`` is the end of what it wrote to stderr; empty for nothing.
    """
    shown = _message(None, tail, redact, keep) if tail and redact != "strict" else None
    return Failure("CommandFailed", exit_name(code), shown)


def exit_failure(code: int) -> Failure:
    """A command that failed and of which nothing but its exit is known."""
    return capture_output("", code)


def _attempt(part: Callable[[BaseException], str | None], error: BaseException) -> str | None:
    try:
        return part(error)
    except BaseException:  # noqa: BLE001  # an exception class can be as hostile as it likes
        return None


def _message(
    error: BaseException | None, output: str, redact: Redact, keep: Sequence[str]
) -> str | None:
    """What may be shown of the error or, if there is none, of the command's output."""
    try:
        from cronguard import _redact  # strict does without

        if callable(redact):
            return _custom(redact, output if error is None else _redact.text_of(error), error)
        if error is None:
            return _redact.redact_output(output, keep=keep)
        return _redact.redact_error(error, keep=keep)
    except BaseException as failure:  # noqa: BLE001  # an exception class can be hostile
        _log.warning_once("redaction failed with %s: the message is left out", _name_of(failure))
        return None


def _name_of(failure: BaseException) -> str:
    return _attempt(error_type, failure) or "an error"


def _custom(
    redact: Callable[[str, BaseException | None], object], text: str, error: BaseException | None
) -> str | None:
    """The callable's answer, cleaned and capped; None, as with ``strict``, if it gave none."""
    try:
        answer = redact(text, error)
    except BaseException as failure:  # noqa: BLE001  # somebody else's code
        problem = f"raised {_name_of(failure)}"
    else:
        if isinstance(answer, str):
            return clean(answer) or None
        problem = f"returned {type(answer).__name__} instead of str"
    _log.warning_once(
        "redact callable %s %s: only type, code and place of errors are kept; see redact in the"
        " settings",
        getattr(redact, "__qualname__", type(redact).__qualname__),
        problem,
    )
    return None
