"""A shared log in a Supabase project, through the ``supabase`` client."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx
from postgrest.exceptions import APIError
from supabase import Client, ClientOptions, create_client

from cronguard.core.errors import ConfigError, StoreError
from cronguard.stores.server.errors import store_error
from cronguard.stores.server.functions import FunctionStore

KEY_VARIABLES = ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY")
_STATUS = 3  # digits
_ADVICE = "use the project's service_role key or a secret key (sb_secret_…), never a public one"


class SupabaseStore(FunctionStore):
    """A `cronguard.core.interfaces.Store` in a Supabase project that ``cronguard init`` prepared.

    ``url`` and ``key`` default to ``SUPABASE_URL`` and to ``SUPABASE_SERVICE_ROLE_KEY`` or
    ``SUPABASE_SECRET_KEY``; or pass a ``supabase.Client`` of your own (a forked child makes one for
    itself, at the same address with the same key). One request at a run's start, one at its end.
    ``timeout``, in seconds, bounds each step of a request; cronguard bounds
    the call as a whole. Raises ConfigError where address or key cannot be right.
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
        self._http: httpx.Client | None = None
        self._inherited: object = None
        self._lock = threading.Lock()
        self._own = client is None
        if client is not None:
            self._url, self._key = str(client.supabase_url), client.supabase_key
        else:
            self._url = (url or os.environ.get("SUPABASE_URL", "")).strip()
            self._key = (key or _key_of_environment()).strip()
        _check_url(self._url)
        _check_key(self._key)
        self._client = client
        self._pid = os.getpid()

    @classmethod
    def from_url(cls, url: str, *, timeout: float = 2.0) -> SupabaseStore:
        """Open the setting ``supabase``, which has no address: the environment has it."""
        if url:
            raise ConfigError('write store = "supabase" and set SUPABASE_URL to the address')
        return cls(timeout=timeout)

    @property
    def where(self) -> str:
        """The project by its host."""
        return f"Supabase at {urlsplit(self._url).netloc}"

    def __repr__(self) -> str:
        return f"<SupabaseStore {self.where}>"

    def close(self) -> None:
        if self._own:
            http, self._http, self._client = self._http, None, None
            if http is not None:
                http.close()

    # --- one call -------------------------------------------------------------------------------

    def _call(self, function: str, request: dict[str, Any]) -> Any:
        """One POST; a second one only if the connection that was kept had been closed."""
        arguments = {"request": request} if request else {}
        for attempt in range(2):
            try:
                data = self._opened().rpc(function, arguments).execute().data
            except APIError as error:
                code = _code(error)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # Every write may be repeated.
                code = "closed"
                if attempt == 0:
                    continue
            except httpx.TransportError as error:
                code = _transport(error)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError):
                code = "404"
            except Exception as error:  # noqa: BLE001  # somebody else's client; its text may hold the key
                code = type(error).__name__
            else:
                if not isinstance(data, str):
                    return data
                # No function answers with text alone: this is somebody else's page.
                code = "404"
            break
        raise self._error(code)

    def _error(self, code: str) -> StoreError:
        return store_error(code, where=self.where, kind="supabase")

    def _opened(self) -> Client:
        if self._pid != os.getpid():
            # After a fork: locks and sockets are the parent's.
            self._lock, self._pid = threading.Lock(), os.getpid()
            self._inherited = (self._client, self._http)
            self._client, self._http, self._own = None, None, True
        with self._lock:
            if self._client is None:
                # HTTP/1.1: with HTTP/2, hpack would log the key at DEBUG.
                self._http = httpx.Client(timeout=self._timeout, trust_env=False)
                self._client = create_client(
                    self._url, self._key, ClientOptions(httpx_client=self._http)
                )
            return self._client


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
        good = parts.scheme in ("https", "http") and bool(parts.hostname) and url.isprintable()
        good = good and "@" not in url and parts.port != 0  # a port that is none raises
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            "SUPABASE_URL is no web address: set it to https://PROJECT.supabase.co, as the"
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
    """The role that a JWT names; None if it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004  # header, claims, signature (RFC 7519)
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return str(claims["role"])
    except (ValueError, KeyError, TypeError):
        return None


def _code(error: APIError) -> str:
    """PostgREST's code, the SQLSTATE, the HTTP status, or what a gateway without codes means."""
    said = (error.message or "").lower()
    if error.code == "22023" and said.startswith("role "):
        return "PGRST301"  # the key names a role that the database does not have
    if error.code in ("PGRST301", "PGRST303") and "expired" in said:
        return "expired"
    if error.code:
        code = str(error.code)  # an int where an older client took the HTTP status
        return "gateway" if len(code) == _STATUS and code[0] == "5" else code
    if "api key" in said or "jwt" in said or "unauthorized" in said:
        return "401"
    if "no route" in said or "not found" in said:
        return "404"
    return "gateway"


def _transport(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "dns"
        if isinstance(cause, ssl.SSLError):
            return "tls"
        if isinstance(cause, ConnectionRefusedError):
            return "refused"
        cause = cause.__cause__ or cause.__context__
    return "unreachable"
