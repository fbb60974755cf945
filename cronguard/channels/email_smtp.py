"""``email-smtp``: an e-mail through any SMTP server (RFC 5321), every byte under the deadline."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from cronguard.channels.transport import mail, sockets
from cronguard.core.errors import ChannelError, PartialDelivery
from cronguard.core.model import Message, Option

if TYPE_CHECKING:
    from email.message import EmailMessage

PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class EmailSmtpChannel:
    """Sends through an SMTP server, encrypted unless the options say otherwise.

    A password crosses the network inside TLS only; without TLS it is refused but to this machine.
    """

    OPTIONS: ClassVar[Sequence[Option]] = (
        Option("host", required=True, help="the server's name"),
        Option("from", required=True, help="the sender's address"),
        Option("to", required=True, help="one address, or several separated by commas"),
        Option("port", help="587 for starttls, 465 for ssl, 25 for none, unless set"),
        Option("security", help="starttls, ssl or none", default="starttls"),
        Option("user", help="to log in; without it nobody logs in"),
        Option("password", secret=True, help="to log in"),
    )

    def __init__(
        self,
        *,
        host: str,
        to: str,
        port: str | None = None,
        security: str = "starttls",
        user: str | None = None,
        password: str | None = None,
        **options: str,
    ) -> None:
        self._host = host.strip()
        self._envelope = mail.envelope(to=to, **options)
        self._security = security.strip().lower()
        if self._security not in PORTS:
            raise ChannelError("bad_option", detail="security must be starttls, ssl or none")
        number = str(port or PORTS[self._security]).strip()
        if not (number.isascii() and number.isdigit() and 0 < int(number[:6]) < 65_536):  # noqa: PLR2004
            raise ChannelError("bad_option", detail="port must be a number up to 65535")
        self._port = int(number)
        if bool(user) != bool(password):
            raise ChannelError("bad_option", detail="user and password belong together: set both")
        self._login = (user.strip(), password.strip()) if user and password else None
        if self._login and self._security == "none" and not sockets.is_loopback(self._host):
            raise ChannelError("insecure_login", detail="a password needs security starttls or ssl")

    def send(self, message: Message) -> None:
        """Send. 5xx answers to the e-mail are final, but for those about logging in."""
        deadline = sockets.deadline_or_default(message.deadline)
        sockets.sanitize_errors(lambda: self._send(_mime(self._envelope, message), deadline))

    def _send(self, mime: EmailMessage, deadline: float) -> None:
        from cronguard.channels.transport.smtp import Session

        with Session(self._host, self._port, deadline, tls=self._security == "ssl") as session:
            if self._security == "starttls":
                session.start_tls()
            if self._login:
                session.log_in(*self._login)
            to = [mail.bare(each) for each in self._envelope.to]
            refused = session.deliver(mail.bare(self._envelope.sender), to, mime)
        if refused:
            raise PartialDelivery(refused.code, detail="some of the recipients were refused")


def _mime(envelope: mail.Envelope, message: Message) -> EmailMessage:
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import formatdate

    email = mail.compose(message.alert)
    mime = EmailMessage(SMTP.clone(cte_type="7bit"))  # not every server takes 8-bit bytes
    mime["From"] = envelope.sender
    mime["To"] = ", ".join(envelope.to)
    mime["Subject"] = email.subject
    mime["Date"] = formatdate()
    # The same on every try, so that a mail system can tell a repeat.
    domain = mail.bare(envelope.sender).rpartition("@")[2]
    mime["Message-ID"] = f"<{message.alert.alert_id}@{domain}>"
    mime["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mime.set_content(email.text)
    mime.add_alternative(email.html, subtype="html")
    return mime


def load_late() -> None:
    """Load now what is imported late, when an alert is sent."""
    for name in "email.message", "email.policy", "email.utils":
        import_module(name)
    import cronguard.channels.transport.smtp  # noqa: F401
