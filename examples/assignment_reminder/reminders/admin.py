"""Manual correction of one assignment's date over HTTP, for the SQLite database.

On Supabase the same is the function ``correct_last_contact``, reached with an admin's own token.
Nothing that a request holds is logged: neither reasons nor dates, tokens or addresses.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from reminders.job import TIMEZONE
from reminders.repository import RepositoryError, SetupError
from reminders.sqlite import CorrectionError, SQLiteRepository

SHORTEST_TOKEN = 20
LONGEST_BODY = 4_096
LARGEST_ID = 2**63 - 1
FIELDS = {"last_contact_date", "reason"}

log = logging.getLogger("reminders.admin")


class Token(NamedTuple):
    """A bearer token, known by the variable that it was read from."""

    name: str
    digest: bytes
    is_admin: bool


def read_tokens(admins: Sequence[str], users: Sequence[str]) -> list[Token]:
    """Read tokens by reference: ``env:NAME`` each.

    Raises:
        SetupError: A reference is none, or what it names is missing or too short. What was given
            is not repeated: people paste the token itself.
    """
    tokens = []
    for is_admin, references in ((True, admins), (False, users)):
        for reference in references:
            name = reference.removeprefix("env:")
            if name == reference or not name.isidentifier():
                raise SetupError("a token is named by its variable, as in env:REMINDER_ADMIN_TOKEN")
            value = os.environ.get(name, "")
            if len(value) < SHORTEST_TOKEN:
                raise SetupError(f"{name} must hold a token of {SHORTEST_TOKEN} characters or more")
            tokens.append(Token(name, _digest(value), is_admin))
    if len({token.digest for token in tokens}) < len(tokens):
        raise SetupError("each token must be another one")
    return tokens


def create_app(store: str, tokens: Sequence[Token]) -> Starlette:
    """Return the web app: one address, to look at a date and to correct it."""

    async def last_contact(request: Request) -> JSONResponse:
        token = _bearer(request, tokens)
        if token is None:
            return _refuse(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        assignment_id = request.path_params["assignment_id"]
        if assignment_id > LARGEST_ID:
            return _refuse(404, "there is no such assignment")
        if request.method == "GET":
            return await run_in_threadpool(_look, store, assignment_id)
        if not token.is_admin:
            return _refuse(403, "only an admin corrects")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_BODY:
                return _refuse(413, "the body is too long")
        return await run_in_threadpool(_correct, store, token.name, assignment_id, body)

    path = "/assignments/{assignment_id:int}/last-contact-date"
    return Starlette(routes=[Route(path, last_contact, methods=["GET", "PUT"])])


def serve(store: str, *, admins: Sequence[str], users: Sequence[str], host: str, port: int) -> None:
    """Serve the web app until it is interrupted; put TLS in front of it.

    Raises:
        SetupError: A token or the database is not there.
    """
    app = create_app(store, read_tokens(admins, users))
    SQLiteRepository.open(store).__exit__(None, None, None)
    # Without uvicorn's access log, which has the addresses of people.
    uvicorn.run(app, host=host, port=port, access_log=False)


def _look(store: str, assignment_id: int) -> JSONResponse:
    with SQLiteRepository.open(store) as repository:
        found = repository.last_contact_date(assignment_id)
    if found is None:
        return _refuse(404, "there is no such assignment")
    return JSONResponse({"assignment_id": assignment_id, "last_contact_date": found})


def _correct(store: str, corrected_by: str, assignment_id: int, body: bytes) -> JSONResponse:
    today = datetime.now(ZoneInfo(TIMEZONE)).date()
    try:
        on, reason = _asked(body)
        with SQLiteRepository.open(store) as repository:
            correction = repository.correct(
                assignment_id, on, reason, today=today, corrected_by=corrected_by
            )
    except CorrectionError as error:
        return _refuse(error.status, str(error))
    except RepositoryError:
        log.error("correction of assignment %d: the database refused", assignment_id)  # noqa: TRY400  # a traceback may show what the request held
        return _refuse(503, "the database refused; try again")
    log.info("correction %d of assignment %d", correction.id, assignment_id)
    return JSONResponse(correction._asdict())


def _asked(body: bytes) -> tuple[date, str]:
    """Return the date and the reason that a request's body asks for.

    Raises:
        CorrectionError: It is not what it should be.
    """
    try:
        asked = json.loads(body)
        unknown = set(asked) - FIELDS
        on, reason = date.fromisoformat(asked["last_contact_date"]), asked.get("reason", "")
        str(reason).encode()  # which half a character cannot be
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorrectionError(
            422, "the body must be JSON, with last_contact_date as YYYY-MM-DD"
        ) from None
    if unknown or not isinstance(reason, str):
        raise CorrectionError(422, "the body must have last_contact_date and reason alone")
    return on, reason


def _bearer(request: Request, tokens: Sequence[Token]) -> Token | None:
    """Return the token that a request holds; every known one is compared, in constant time."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    digest = _digest(value.strip())
    found = None
    for token in tokens:
        if hmac.compare_digest(digest, token.digest):
            found = token
    return found if scheme.lower() == "bearer" else None


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def _refuse(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)
