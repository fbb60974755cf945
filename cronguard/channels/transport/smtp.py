"""`Session`: one SMTP conversation under one deadline, its errors as codes.

smtplib speaks the protocol; the bytes go through `sockets.Connection`, since smtplib's own
timeout starts anew with every byte.
"""

from __future__ import annotations

import smtplib
from contextlib import contextmanager
from email.message import EmailMessage
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cronguard.channels.transport import sockets
from cronguard.core.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

READY, FINAL_CLASS = 220, 5
LOGIN_CODES = {530, 534, 535, 538}
"""Answers about logging in (RFC 4954): somebody can mend them, so they are not final."""


class Session:
    """Open on entering the block, closed on leaving it. Raises `ChannelError` only.

    Codes: ``smtp_<reply>``, ``smtp_unsupported`` (the server does not offer what was asked),
    ``smtp_refused``, ``bad_option``, and those of `sockets.error_code`.
    """

    def __init__(self, host: str, port: int, deadline: float, *, tls: bool) -> None:
        self._host = host
        with _codes():
            self._connection = sockets.connect(host, port, deadline=deadline)
            try:
                if tls:
                    self._connection.start_tls(host)
                self._client = smtplib.SMTP(local_hostname=_literal(self._connection))
                self._client.sock = self._connection  # type: ignore[assignment]
                self._expect(READY, self._client.getreply())
            except BaseException:
                self._connection.close()
                raise

    def start_tls(self) -> None:
        """Encrypt from here on, or fail: there is no falling back to plain text."""
        client = self._client
        with _codes():
            client.ehlo_or_helo_if_needed()
            if not client.has_extn("starttls"):
                raise ChannelError("smtp_unsupported", detail="the server offers no STARTTLS")
            self._expect(READY, client.docmd("STARTTLS"))
            self._connection.start_tls(self._host)
            # RFC 3207: forget what was said in the clear, what is buffered included.
            client.file = None
            client.ehlo_resp = client.helo_resp = None
            client.esmtp_features, client.does_esmtp = {}, False

    def log_in(self, user: str, password: str) -> None:
        """Authenticate with the best way that both sides know."""
        if not (user + password).isascii():
            raise ChannelError("bad_option", detail="user and password must be ASCII for SMTP")
        with _codes():
            self._client.login(user, password)

    def deliver(self, sender: str, to: Sequence[str], mime: EmailMessage) -> None:
        """Hand the e-mail over. Fails only if no recipient was taken: a repeat would double it."""
        with _codes():
            self._client.send_message(mime, sender, list(to))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._client.putcmd("QUIT")  # the e-mail is taken: nobody waits for the answer
        except (OSError, smtplib.SMTPException, ChannelError):
            pass
        finally:
            self._client.close()
            self._connection.close()

    @staticmethod
    def _expect(wanted: int, reply: tuple[int, bytes]) -> None:
        if reply[0] != wanted:
            raise smtplib.SMTPResponseException(*reply)


@contextmanager
def _codes() -> Iterator[None]:
    """smtplib's errors quote the server, and the server quotes addresses; only numbers pass."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        raise _reply_error([code for code, _ in error.recipients.values()]) from None
    except smtplib.SMTPResponseException as error:
        raise _reply_error([error.smtp_code]) from None
    except smtplib.SMTPServerDisconnected as error:
        cause = error.__context__
        code = sockets.error_code(cause) if isinstance(cause, OSError) else "connection_closed"
        raise ChannelError(code) from None
    except smtplib.SMTPNotSupportedError:
        raise ChannelError(
            "smtp_unsupported", detail="the server does not offer what this asks for"
        ) from None
    except smtplib.SMTPException:
        raise ChannelError("smtp_refused") from None


def _reply_error(codes: list[int]) -> ChannelError:
    worst = min(codes)
    if not 200 <= worst <= 599:  # noqa: PLR2004
        return ChannelError("bad_answer", detail="what came back is not SMTP")
    final = all(code // 100 == FINAL_CLASS and code not in LOGIN_CODES for code in codes)
    return ChannelError(f"smtp_{worst}", permanent=final)


def _literal(connection: sockets.Connection) -> str:
    """Who says EHLO, as an address (RFC 5321, 4.1.3): looking up a name of our own can hang."""
    address = connection.local_address.partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


__all__ = ["Session"]
