"""What is kept of an error: exception → `Failure`, already redacted. Nothing here ever raises."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from cronguard.core.interfaces import Redact
from cronguard.core.model import Failure
from cronguard.privacy.error_code import error_code, exit_name, related, text_of
from cronguard.privacy.error_location import error_location
from cronguard.privacy.error_type import error_type
from cronguard.privacy.mask import clean
from cronguard.process import log
from cronguard.process.signals import attempt

_MADE_AT_RUN_TIME = 1 << 9
"""``Py_TPFLAGS_HEAPTYPE``."""
_BUILT_IN = {
    kind
    for kind in vars(builtins).values()
    if type(kind) is type
    and issubclass(kind, BaseException)
    and not kind.__flags__ & _MADE_AT_RUN_TIME
    and kind.__basicsize__ == BaseException.__basicsize__
} - {RecursionError}
"""What is a name and arguments, no more. To read a RecursionError takes room on the stack."""
_PLAIN = (str, int, float, bool, type(None))
_MOST_ARGUMENTS = 8
_MOST_BYTES = 1_000


def capture(
    error: BaseException, *, redact: Redact = "strict", keep: Sequence[str] = ()
) -> Failure:
    """Return what may be kept of an error. ``keep`` is `redact_keep` of the settings.

    Costs some microseconds with ``strict`` and a bounded time with ``scrub``, however long the
    message, the traceback or the chain of causes (the error's own ``str()`` apart).
    """
    return Failure(
        error_type=attempt(error_type, error) or "BaseException",
        error_code=attempt(error_code, error),
        error_message=None if redact == "strict" else _message(error, "", redact, keep),
        error_location=attempt(error_location, error),
    )


def is_plain(error: BaseException) -> bool:
    """Tell whether reading it runs no code but Python's and ours, and takes hardly any time.

    So it is with built-in errors that hold but short texts and numbers, and arose from such.
    """
    for _, each in related(error, suppressed=True):
        if type(each) not in _BUILT_IN or len(each.args) > _MOST_ARGUMENTS:
            return False
        if type(vars(each)) is not dict or vars(each):
            return False
        for value in each.args:
            if type(value) not in _PLAIN or sys.getsizeof(value) > _MOST_BYTES:
                return False
    return True


def load(redact: Redact, *, data: bool = False) -> None:
    """Load now what a first `capture` would load, so that its time is the error's own.

    With ``data`` also the words that only some messages are compared with.
    """
    if redact != "strict":
        redaction = attempt(import_module, "cronguard.privacy.redaction")
        if data and redaction is not None:
            redaction.load_data()


def capture_output(
    tail: str, code: int, *, redact: Redact = "strict", keep: Sequence[str] = ()
) -> Failure:
    """Return what may be kept of a failed command: ``code`` is -9 for SIGKILL, as `subprocess`'s.

    ``tail`` is the end of what it wrote to stderr; empty for nothing.
    """
    shown = _message(None, tail, redact, keep) if tail and redact != "strict" else None
    return Failure("CommandFailed", exit_name(code), shown)


def exit_failure(code: int) -> Failure:
    """Return the failure of a command of which nothing but its exit is known."""
    return capture_output("", code)


def _message(
    error: BaseException | None, output: str, redact: Redact, keep: Sequence[str]
) -> str | None:
    """Return what may be shown of the error or, if there is none, of the command's output."""

    def failed(caught: BaseException) -> None:
        log.warning_once("redaction failed with %s: the message is left out", _name_of(caught))

    return attempt(_shown, error, output, redact, keep, failed=failed)


def _shown(
    error: BaseException | None, output: str, redact: Redact, keep: Sequence[str]
) -> str | None:
    if callable(redact):
        return _custom(redact, output if error is None else text_of(error), error)
    from cronguard.privacy import redaction  # strict does without

    if error is None:
        return redaction.redact_output(output, keep=keep)
    return redaction.redact_error(error, keep=keep)


def _name_of(failure: BaseException) -> str:
    return attempt(error_type, failure) or "an error"


def _custom(
    redact: Callable[[str, BaseException | None], object], text: str, error: BaseException | None
) -> str | None:
    """Return the callable's answer, cleaned and capped; None, as with ``strict``, for none."""
    raised: list[str] = []
    answer = attempt(redact, text, error, failed=lambda caught: raised.append(_name_of(caught)))
    if isinstance(answer, str):
        return clean(answer) or None
    problem = (
        f"raised {raised[0]}" if raised else f"returned {type(answer).__name__} instead of str"
    )
    log.warning_once(
        "redact callable %s %s: only type, code and place of errors are kept; see redact in the"
        " settings",
        getattr(redact, "__qualname__", type(redact).__qualname__),
        problem,
    )
    return None
