"""A shared log in a Supabase project, over the project's API."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cronguard.core.errors import ConfigError, StoreError
from cronguard.stores.server.errors import store_error
from cronguard.stores.server.functions import FunctionStore
from cronguard.stores.server.rest import Api

if TYPE_CHECKING:
    from supabase import Client

KEY_VARIABLES = ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY")
_NO_CONTENT = 204
_UNSEEN_SCHEMA = ("PGRST202", "PGRST205")
"""PostgREST knows no such function, or table: there is none, or it has not looked again yet."""
_GOOD, _REDIRECTS, _SERVER_ERRORS = range(200, 300), range(300, 400), range(500, 600)
_OWN_SENTENCES = (401, 402, 403, 404, 429)
_SQLSTATE = 5  # characters
_HTTPX_WORDS = {
    "ConnectError": "unreachable",
    "RemoteProtocolError": "closed",
    "ReadError": "closed",
    "WriteError": "closed",
}
_API_PATH = "/rest/v1"
_FOREIGN_PATHS = ("/auth/v1", "/storage/v1", "/functions/v1", "/rest/v1", "/dashboard/")
_ADVICE = "use the project's service_role key or a secret key (sb_secret_…), never a public one"


class SupabaseStore(FunctionStore):
    """A `cronguard.core.interfaces.Store` in a Supabase project that ``cronguard init`` prepared.

    ``url`` and ``key`` default to ``SUPABASE_URL`` and to ``SUPABASE_SERVICE_ROLE_KEY`` or
    ``SUPABASE_SECRET_KEY``; or pass a ``supabase.Client`` of your own, whose requests are then made
    by it (those of a forked child are not). One request at a run's start, one at its end.
    ``timeout``, in seconds, bounds each step of a request; cronguard bounds the call as a whole.
    Raises ConfigError where address or key cannot be right.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        client: Client | None = None,
        timeout: float = 2.0,
    ) -> None:
        self._timeout = timeout
        self._inherited: object = None
        self._ask_again: Callable[[], bool] | None = None
        if client is not None:
            self._url, self._key = str(client.supabase_url), client.supabase_key
        else:
            self._url = (url or os.environ.get("SUPABASE_URL", "")).strip()
            self._key = (key or _key_of_environment()).strip()
        self._url = self._url.rstrip("/").removesuffix(_API_PATH)
        _check_url(self._url)
        _check_key(self._key)
        self._client = client
        self._api = Api(self._url, self._key, timeout)
        self._pid = os.getpid()

    @classmethod
    def from_url(cls, url: str, *, timeout: float = 2.0) -> SupabaseStore:
        """Open the setting ``supabase``, which has no address: the environment has it."""
        if url:
            raise ConfigError('write store = "supabase" and set SUPABASE_URL to the address')
        return cls(timeout=timeout)

    @property
    def where(self) -> str:
        """Return the project by its host."""
        return f"Supabase at {urlsplit(self._url).netloc}"

    def __repr__(self) -> str:
        return f"<SupabaseStore {self.where}>"

    def close(self) -> None:
        self._opened().close()

    def await_schema(self, ask_again: Callable[[], bool]) -> None:
        """Repeat a call that finds no schema as long as ``ask_again()``, which waits, says so.

        The API sees a migration some seconds after it was applied. Without this a call is refused
        at once, as a job's run wants it.
        """
        self._ask_again = ask_again

    # --- one call -------------------------------------------------------------------------------

    def _call(self, function: str, request: dict[str, Any]) -> Any:
        """Make one POST; a second one only if the connection that was kept had been closed."""
        while True:
            data, code = self._answer(function, request)
            if code is None:
                return data
            if code not in _UNSEEN_SCHEMA or self._ask_again is None or not self._ask_again():
                raise self._error(code)

    def _answer(self, function: str, request: dict[str, Any]) -> tuple[Any, str | None]:
        """Return (answer, None), or what went wrong: (None, code)."""
        arguments = {"request": request} if request else {}
        try:
            api = self._opened()
            if self._client is not None:
                data = _rpc(self._client, function, arguments)
            else:
                data = _data(*api.post(function, arguments))
        except _Refused as error:
            code = error.code
        except Exception as error:  # noqa: BLE001  # its text may hold the key
            code = _transport(error)
        else:
            if not isinstance(data, str):
                return data, None
            # No function answers with nothing, or with text alone: this is somebody else's.
            code = "404" if data else "empty"
        if code == "42501" and function.startswith("cronguard_secret"):
            code = "vault_denied"
        return None, code

    def _error(self, code: str) -> StoreError:
        return store_error(code, where=self.where, kind="supabase")

    def _opened(self) -> Api:
        if self._pid != os.getpid():
            # After a fork: locks and sockets are the parent's.
            self._pid = os.getpid()
            self._inherited = (self._client, self._api)
            self._client, self._api = None, Api(self._url, self._key, self._timeout)
        return self._api


def _key_of_environment() -> str:
    for name in KEY_VARIABLES:
        value = os.environ.get(name, "").strip()
        if value:
            return value
    return ""


def _check_url(url: str) -> None:
    if not url:
        raise ConfigError(
            "the Supabase store has no address: set SUPABASE_URL to https://PROJECT.supabase.co"
        )
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("https", "http")
            and bool(parts.hostname)
            and "@" not in url
            and parts.port != 0
            and url.isprintable()
            and not any(word in parts.path for word in _FOREIGN_PATHS)
            and not parts.query
        )
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            "SUPABASE_URL is not a project's address: set it to https://PROJECT.supabase.co, as the"
            " project's settings show it"
        )


def _check_key(key: str) -> None:
    if not key:
        raise ConfigError(
            "the Supabase store has no key: set SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEY"
        )
    if key.startswith("sb_publishable_"):
        raise ConfigError(f"the Supabase key is a publishable one: {_ADVICE}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"the Supabase key holds characters that no key has: {_ADVICE}")
    if not key.startswith("sb_secret_"):
        role = _role(key)
        if role is None:
            raise ConfigError(f"the Supabase key has no form that Supabase's keys have: {_ADVICE}")
        if role in ("anon", "authenticated"):
            raise ConfigError(f"the Supabase key is that of the role {role}: {_ADVICE}")


def _role(token: str) -> str | None:
    """Return the role that a JWT names; None if it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004  # header, claims, signature (RFC 7519)
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return str(claims["role"])
    except (ValueError, KeyError, TypeError):
        return None


class _Refused(Exception):  # noqa: N818  # a state of the call
    """The answer is an error; ``code`` is one of `cronguard.stores.server.errors`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _data(status: int, body: bytes) -> Any:
    """Return what a function has answered; text that is no JSON as text."""
    if status == _NO_CONTENT:
        return None
    try:
        data = json.loads(body)
    except ValueError:
        data = body.decode("latin-1").strip()
    if status in _GOOD:
        return data
    said = data if isinstance(data, dict) else {}
    raise _Refused(_code(status, said.get("code"), str(said.get("message") or "")))


def _rpc(client: Client, function: str, arguments: dict[str, Any]) -> Any:
    """Make a call by somebody's own client, whose httpx would write a line on it into the log."""
    import httpx  # theirs already, as is the other
    from postgrest.exceptions import APIError

    from cronguard.process.net import silence_http_logging

    call = client.rpc(function, arguments)
    try:
        with silence_http_logging():
            try:
                return call.execute().data
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                return call.execute().data  # the connection that was kept had been closed
    except APIError as error:
        code = str(error.code or "")  # of a page, the HTTP status
        status = int(code) if code.isdecimal() and len(code) < _SQLSTATE else 0
        code = _code(status, code, str(error.message or ""))
    raise _Refused(code)


def _code(status: int, code: object, message: str) -> str:
    """Return PostgREST's code, the SQLSTATE, the HTTP status, or what a gateway means.

    ``status`` is 0 if it is not known.
    """
    message = message.lower()
    if code == "22023" and message.startswith("role "):
        return "PGRST301"  # the key names a role that the database does not have
    if code in ("PGRST301", "PGRST303") and "expired" in message:
        return "expired"
    if isinstance(code, str) and len(code) >= _SQLSTATE:
        return code
    if status in _OWN_SENTENCES:
        return str(status)
    if "api key" in message or "jwt" in message or "unauthorized" in message:
        return "401"
    if status in _REDIRECTS or "no route" in message or "not found" in message:
        return "404"
    return "gateway" if status in _SERVER_ERRORS or not status or message else str(status)


def _transport(error: BaseException) -> str:
    """Return the word for an error without an answer, the standard library's or httpx's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError) or type(cause).__name__.endswith("Timeout"):
            return "timeout"
        if isinstance(cause, socket.gaierror):
            return "dns"
        if type(cause).__module__ == "ssl":
            return "tls"
        if isinstance(cause, ConnectionRefusedError):
            return "refused"
        if isinstance(cause, ConnectionError | http.client.IncompleteRead):
            return "closed"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError):
        return "unreachable"
    # What came back is no HTTP, or the address is none.
    known = isinstance(error, http.client.HTTPException | ValueError)
    return "404" if known else _HTTPX_WORDS.get(type(error).__name__, type(error).__name__)
