"""How a run ended, judged from the exception that ended it (None: it returned)."""

from __future__ import annotations

from typing import Any

from cronguard.core.model import EndStatus
from cronguard.process.signals import interrupted_by_ctrl_c

_CELERY_CONTROL_FLOW = frozenset({"Retry", "Ignore", "Reject"})
_name: Any = type.__dict__["__name__"].__get__
_module: Any = type.__dict__["__module__"].__get__
_mro: Any = type.__dict__["__mro__"].__get__


def end_status(
    error: BaseException | None, ignore: tuple[type[BaseException], ...] = ()
) -> EndStatus:
    """``success``, ``failure`` or ``cancelled``; ``ignore`` lists the job's own cancellations.

    A cancelled task counts as a failure, since time-outs arrive that way, unless it is Ctrl-C that
    `asyncio.run` hands on as a cancellation.
    """
    if error is None:
        return "success"
    if ignore and isinstance(error, ignore):
        return "cancelled"
    kinds = _mro(type(error))  # `isinstance` would ask the error itself, which may raise
    if SystemExit in kinds:
        code = error.code  # type: ignore[attr-defined]
        return "success" if code is None or (isinstance(code, int) and code == 0) else "failure"
    if KeyboardInterrupt in kinds:
        return "cancelled"
    if _name(kinds[0]) == "CancelledError" and interrupted_by_ctrl_c():
        return "cancelled"
    if any(
        _name(kind) in _CELERY_CONTROL_FLOW and _module(kind) == "celery.exceptions"
        for kind in kinds
    ):
        return "cancelled"
    return "failure"
