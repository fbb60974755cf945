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
TLS_PORT = 465
SILENT_CODES = {"timeout", "connection_closed", "connection_reset", "bad_answer"}
"""What comes of waiting for the greeting of a server that waits for TLS."""
LOGIN_CODES = {530, 534, 535, 538}
"""Answers about logging in (RFC 4954): somebody can mend them, so they are not final."""


class Session:
    """Open on entering the block, closed on leaving it. Raises `ChannelError` only.

    Codes: ``smtp_<reply>``, ``smtp_unsupported`` (the server does not offer what was asked),
    ``smtp_refused``, ``smtp_port_is_tls`` and ``smtp_port_is_plain`` (the wrong ``tls`` for the
    port), ``bad_option``, and those of `sockets.error_code`. Only what `deliver` raises
    can be permanent: other replies are not about this e-mail.
    """

    def __init__(self, host: str, port: int, deadline: float, *, tls: bool) -> None:
        self._host = host
        self._connection = sockets.connect(host, port, deadline=deadline)
        try:
            self._greet(tls=tls)
        except (ChannelError, OSError) as error:
            self._connection.close()
            failure = sockets.without_cause(error)
        except BaseException:
            self._connection.close()
            raise
        else:
            return
        if not tls and port == TLS_PORT and failure.code in SILENT_CODES:
            failure = ChannelError("smtp_port_is_tls")
        elif tls and port != TLS_PORT and failure.code == "tls_failure":
            failure = ChannelError("smtp_port_is_plain")
        raise failure

    def _greet(self, *, tls: bool) -> None:
        with _codes():
            if tls:
                self._connection.start_tls(self._host)
            self._client = smtplib.SMTP(local_hostname=_literal(self._connection))
            self._client.sock = self._connection  # type: ignore[assignment]
            self._expect(READY, self._client.getreply())

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

    def deliver(self, sender: str, to: Sequence[str], mime: EmailMessage) -> ChannelError | None:
        """Hand the e-mail over; return why some recipients were refused, None if none was.

        Fails only if no recipient was taken.
        """
        with _codes():
            self._client.ehlo_or_helo_if_needed()
        with _codes(final=True):
            refused = self._client.send_message(mime, sender, list(to))
        return _reply_error([code for code, _ in refused.values()]) if refused else None

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
def _codes(*, final: bool = False) -> Iterator[None]:
    """Turn smtplib's errors, which quote the server, which quotes addresses, into numbers.

    Args:
        final: Whether a 5xx reply is about the e-mail, so that repeating it cannot work.
    """
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        raise _reply_error([code for code, _ in error.recipients.values()], final=final) from None
    except smtplib.SMTPResponseException as error:
        if isinstance(error.smtp_error, str):  # smtplib's own, of a line without an end
            raise ChannelError("answer_too_long") from None
        raise _reply_error([error.smtp_code], final=final) from None
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


def _reply_error(codes: list[int], *, final: bool = False) -> ChannelError:
    worst = min(codes)
    if not 200 <= worst <= 599:  # noqa: PLR2004
        return ChannelError("bad_answer", detail="what came back is not SMTP")
    refused = all(code // 100 == FINAL_CLASS and code not in LOGIN_CODES for code in codes)
    return ChannelError(f"smtp_{worst}", permanent=final and refused)


def _literal(connection: sockets.Connection) -> str:
    """Return our address for EHLO (RFC 5321, 4.1.3): looking up a name of our own can hang."""
    address = connection.local_address.partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


__all__ = ["Session"]
