"""The code of an error: what a machine would call it, found on the error or among its causes.

Only values of a known shape count as codes, so that nothing a person wrote can pass for one.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from cronguard.privacy.mask import MOST_CHARACTERS
from cronguard.process.signals import attempt

Role: TypeAlias = Literal["error", "cause", "context", "member"]

_cause: Any = BaseException.__dict__["__cause__"].__get__
_context: Any = BaseException.__dict__["__context__"].__get__
_suppressed: Any = BaseException.__dict__["__suppress_context__"].__get__
_members: Any = BaseExceptionGroup.__dict__["exceptions"].__get__

# the classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGREST = "PGRST[0-9A-Z]{3}"
KNOWN_SQLSTATE = (
    "(0[01238ABFLPZ]|2[0-8BDF]|3[489BDF]|4[024]|5[34578]|72|F0|H[VY]|P0|XX)"
    f"([0-9]{{3}}|[0-9]{{2}}[A-Z]|[CPST][0-9]{{2}})|{_POSTGREST}"
)
_ANY_SQLSTATE = "(?=(.*[0-9]){2})[0-9A-Z]{5}"
_CONSTANT = "[A-Z][A-Z0-9_]{2,60}"
_HTTP_STATUS = "[345][0-9][0-9]"
_LONGEST = 80
_TEXT_CODES = (
    ("sqlstate", f"{KNOWN_SQLSTATE}|{_ANY_SQLSTATE}"),  # psycopg, asyncpg
    ("pgcode", f"{KNOWN_SQLSTATE}|{_ANY_SQLSTATE}"),  # psycopg2
    ("sqlite_errorname", "SQLITE_[A-Z_]+"),
)


def related(
    error: BaseException, *, limit: int = 16, suppressed: bool = False
) -> Iterator[tuple[Role, BaseException]]:
    """Return the error, its causes, then members of groups; each once, at most ``limit``.

    A context hidden by ``raise … from None`` is passed over unless ``suppressed`` is asked for.
    """
    waiting: list[tuple[Role, BaseException]] = [("error", error)]
    seen: set[int] = set()
    while waiting and len(seen) < limit:
        role, current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield role, current
        if issubclass(type(current), BaseExceptionGroup):
            waiting.extend(("member", member) for member in reversed(_members(current)[:limit]))
        cause = _cause(current)
        if cause is None and issubclass(type(reason := read(current, "reason")), BaseException):
            cause = reason  # urllib's URLError, urllib3's MaxRetryError
        if cause is not None:
            waiting.append(("cause", cause))
        elif (suppressed or not _suppressed(current)) and (before := _context(current)) is not None:
            waiting.append(("context", before))


def error_code(error: BaseException) -> str | None:
    """Return SQLSTATE, SQLite or errno name, HTTP status, exit code or signal name, or None.

    Looked for on the error itself, then on its causes and the members of groups.
    """
    # httpcore raises its mapped errors ``from None``, with the errno in the hidden context
    for _, current in related(error, suppressed=True):
        if code := own_code(current):
            return code
    return None


def exit_name(code: int) -> str:
    """Return ``"3"`` for an exit status, ``"SIGKILL"`` for what `subprocess` calls -9."""
    if code >= 0:
        return str(code & 0xFF)
    import signal  # only for a process that a signal ended

    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"SIG{-code & 0xFF}"


def own_code(error: BaseException) -> str | None:
    """Return `error_code` without looking further than the error itself."""
    kind = type(error)
    if issubclass(kind, SystemExit):
        return _system_exit(read(error, "code"))
    for name, shape in _TEXT_CODES:
        if code := _shaped(read(error, name), shape):
            return code
    if (named := read(error, "code")) is not None:
        held = read(error, "__dict__")
        # PostgREST's has a hint; elsewhere five digits can be anything, such as a postcode
        of_database = isinstance(held, dict) and "hint" in held
        if code := _shaped(named, KNOWN_SQLSTATE if of_database else _POSTGREST):
            return code
    if issubclass(kind, OSError) and (code := _os_code(error)):
        return code
    status = _number(read(error, "returncode"))
    if status:
        return exit_name(status)
    return _http_status(error)


def read(holder: object, name: str) -> object:
    """Return the attribute, or None if there is none or it cannot be read."""
    return attempt(getattr, holder, name, None)


def text_of(error: BaseException) -> str:
    """Return ``str(error)`` whatever its class does, with a bound on its length."""
    text = attempt(str, error)
    return "" if text is None else str.__getitem__(text, slice(MOST_CHARACTERS + 1))


def _number(value: object) -> int | None:
    return int.__int__(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _system_exit(code: object) -> str | None:
    if code is None:
        return None
    number = int.__int__(code) if isinstance(code, int) else 1
    return exit_name(number & 0xFF)


def _shaped(value: object, shape: str) -> str | None:
    """Return a text that has the shape of a code; a subclass of str or int as the plain type."""
    if isinstance(value, str):
        text = str.__str__(value)
    elif (number := _number(value)) is not None and number in range(1000):
        text = str(number)
    else:
        return None
    return text if len(text) <= _LONGEST and re.fullmatch(shape, text) else None


def _os_code(error: BaseException) -> str | None:
    number = _number(read(error, "errno"))
    module = type(error).__module__
    if module == "ssl":
        # errno is a number of OpenSSL's there
        return _shaped(read(error, "reason"), _CONSTANT)
    if number is None:
        return None
    if type(error).__name__ == "gaierror" and (socket := sys.modules.get("socket")):
        names = (name for name in vars(socket) if name.startswith("EAI_"))
        return next((name for name in names if read(socket, name) == number), None)
    return errno.errorcode.get(number)


def _http_status(error: BaseException) -> str | None:
    response = read(error, "response")
    if isinstance(response, dict):  # botocore's ClientError
        metadata = response.get("ResponseMetadata")
        candidates = [metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None]
    else:
        candidates = [
            read(response, name) for name in ("status_code", "status") if response is not None
        ]
    candidates += [read(error, name) for name in ("status_code", "status", "code", "smtp_code")]
    shaped = (_shaped(value, _HTTP_STATUS) for value in candidates)
    return next((status for status in shaped if status), None)
