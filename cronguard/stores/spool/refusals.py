"""What a store's refusal means: whether it is away, or well and does not take this outcome."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cronguard.core.errors import StoreError
from cronguard.core.model import DETAILS, Outcome, details_of, from_details

_AWAY = re.compile(
    r"timeout|busy|no_thread|connection_\w+|unknown_host|tls|gateway|unreachable|shutting_down"
    r"|starting_up|too_many_connections|disk_full|read_only|database_down|57014"
)
"""Codes of a store that can store nothing now."""
_REFUSED = re.compile(r"2[23]\w{3}|PGRST1\d\d|54\w{3}|invalid_request|unencodable")
"""Codes of a server that is well and did not take this outcome: data exceptions, constraints,
limits, a request that its functions refuse."""

_NO_TEXT = ("error_type", "error_code")
"""Details of an outcome that a store hardly ever refuses."""


def is_away(error: StoreError) -> bool:
    """Tell whether the store can store nothing now."""
    return _AWAY.fullmatch(error.code) is not None


def is_refusal(error: StoreError) -> bool:
    """Tell whether a store that is well did not take an outcome, and may take others."""
    return _REFUSED.fullmatch(error.code) is not None


def forms(outcome: Outcome) -> Iterator[tuple[Outcome, bool]]:
    """Yield the outcome, then in ASCII, then without its text; with whether it is the last."""
    details = details_of(outcome)
    ascii_only = [each and each.encode("ascii", "backslashreplace").decode() for each in details]
    without_text = [
        each if name in _NO_TEXT else None for name, each in zip(DETAILS, ascii_only, strict=True)
    ]
    forms = [outcome]
    for each in (ascii_only, without_text):
        form = outcome._replace(**from_details(each))
        if form != forms[-1]:
            forms.append(form)
    for form in forms:
        yield form, form is forms[-1]


__all__ = ["forms", "is_away", "is_refusal"]
