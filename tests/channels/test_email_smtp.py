"""``email-smtp``: received whole by a real server over TLS, bounded against a hostile one."""

import email.policy
import logging
import time
from contextlib import ExitStack

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from hypothesis import given, settings
from support import hostile, mailbox
from support.alerts import ALERTS, FAILING, NASTY, hostile_alerts, message
from support.mailbox import Mailbox
from support.record import SOON

from cronguard.channels.email_smtp import EmailSmtpChannel
from cronguard.channels.transport import mail, smtp, sockets
from cronguard.core.errors import ChannelError, PartialDelivery
from cronguard.core.model import Settlement
from cronguard.runtime.delivery_codes import explain
from cronguard.runtime.retries import settlement_for

PASSWORD = "pw-SENTINEL"
ADDRESSES = {"from": "Cron Jobs <cron@example.com>", "to": "a@example.com, Bo <b@example.com>"}


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
    return AuthResult(success=good, handled=False, auth_data=data if good else None)


@pytest.fixture
def post(monkeypatch):
    """Starts servers; stops them at the end. The test authority is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(hostile.AUTHORITY))
    with ExitStack() as running:

        def start(box, *, security="starttls", **options):
            port = running.enter_context(mailbox.serve(box, security=security, **options))
            return {"host": "127.0.0.1", "port": str(port)}

        yield start


def send(alert=FAILING, *, deadline=None, **options):
    EmailSmtpChannel(**{**ADDRESSES, **options}).send(message(alert, deadline=deadline))


@pytest.mark.parametrize("security", ["starttls", "ssl", "none"])
def test_a_real_server_receives_the_mail_whole(post, security):
    """Subject, both parts, recipients; encrypted where it was asked for."""
    box = Mailbox()
    send(security=security, **post(box, security=security))
    (envelope,) = box.mails
    assert (box.tls is not None) is (security != "none")
    assert envelope.mail_from == "cron@example.com"
    assert envelope.rcpt_tos == ["a@example.com", "b@example.com"]
    received = email.message_from_bytes(envelope.content, policy=email.policy.default)
    wanted = mail.compose(FAILING)
    assert received["Subject"] == wanted.subject
    assert received["From"] == "Cron Jobs <cron@example.com>"
    assert received["To"] == "a@example.com, Bo <b@example.com>"
    assert received["Message-ID"] == f"<{FAILING.alert_id}@example.com>"
    assert received["Auto-Submitted"] == "auto-generated"
    text, html = received.iter_parts()
    assert text.get_content().splitlines() == wanted.text.splitlines()
    assert html.get_content().strip() == wanted.html
    assert not received.defects
    assert set(box.hello) == {"[127.0.0.1]"}


def test_logs_in(post):
    """User and password reach the server, inside TLS."""
    box = Mailbox()
    where = post(box, authenticator=authenticate, auth_required=True)
    send(user="cron", password=f"{PASSWORD}\n", **where)
    assert box.login.login == b"cron"
    assert len(box.mails) == 1


def test_a_wrong_password_can_be_mended(post, caplog):
    """Not final, a code only, and the password nowhere: not in the error, not in a log."""
    caplog.set_level(logging.DEBUG)
    where = post(Mailbox(), authenticator=authenticate, auth_required=True)
    wrong = PASSWORD + "-wrong"
    with pytest.raises(ChannelError, match="smtp_535") as caught:
        send(user="cron", password=wrong, **where)
    assert not caught.value.permanent
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert wrong not in repr(caught.value)
    ours = [record for record in caplog.records if record.name != "mail.log"]
    assert wrong not in "".join(record.getMessage() for record in ours)


def test_a_password_never_crosses_the_network_in_the_clear():
    """Without TLS it is refused before a connection is opened, but to this machine."""
    with pytest.raises(ChannelError, match="insecure_login"):
        EmailSmtpChannel(
            **ADDRESSES, host="mail.example.com", security="none", user="u", password=PASSWORD
        )
    EmailSmtpChannel(**ADDRESSES, host="localhost", security="none", user="u", password=PASSWORD)


@pytest.mark.parametrize("half", [{"user": "u"}, {"password": PASSWORD}])
def test_half_a_login_is_refused(half):
    """Nobody meant to send without one who has set a user or a password."""
    with pytest.raises(ChannelError, match="bad_option") as caught:
        EmailSmtpChannel(**ADDRESSES, host="mail.example.com", **half)
    assert PASSWORD not in repr(caught.value)


@pytest.mark.parametrize("login", [{}, {"user": "u", "password": PASSWORD}])
def test_no_falling_back_to_plain_text(post, login):
    """A server, or a man in the middle, that offers no STARTTLS gets nothing."""
    box = Mailbox()
    where = post(box, security="none")
    with pytest.raises(ChannelError, match="smtp_unsupported"):
        send(security="starttls", **login, **where)
    assert box.mails == []


def test_a_certificate_nobody_vouches_for(post, monkeypatch):
    """The server must be who it says, with STARTTLS too."""
    for security in ("starttls", "ssl"):
        where = post(Mailbox(), security=security)
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(ChannelError, match="tls_certificate"):
            send(security=security, **where)
        monkeypatch.setenv("SSL_CERT_FILE", str(hostile.AUTHORITY))


@pytest.mark.parametrize(
    ("replies", "code", "permanent"),
    [
        ({"DATA": "554 no thanks a@example.com"}, "smtp_554", True),
        ({"DATA": "451 later"}, "smtp_451", False),
        ({"a@example.com": "550 unknown", "b@example.com": "550 unknown"}, "smtp_550", True),
        ({"a@example.com": "550 unknown", "b@example.com": "450 grey"}, "smtp_450", False),
    ],
)
def test_replies_become_codes(post, replies, code, permanent):
    """5xx is final, 4xx is not, and what the server wrote beside it is thrown away."""
    where = post(Mailbox(**replies))
    with pytest.raises(ChannelError) as caught:
        send(**where)
    assert (caught.value.code, caught.value.permanent) == (code, permanent)
    assert "example" not in repr(caught.value)


@pytest.mark.parametrize("reply", ["550 unknown a@example.com", "450 grey", "452 full"])
def test_one_refused_recipient_does_not_double_the_mail_for_the_others(post, reply):
    """Somebody was told: that counts as sent, and why the other was not is said."""
    box = Mailbox(**{"a@example.com": reply})
    with pytest.raises(PartialDelivery) as caught:
        send(**post(box))
    assert caught.value.code == f"smtp_{reply[:3]}"
    assert "example" not in repr(caught.value)
    assert settlement_for(caught.value, 1) == Settlement("sent", caught.value.code)
    assert box.mails[0].rcpt_tos == ["b@example.com"]
    assert box.left.wait(10), "the mail is taken, so the server is left politely"


def test_a_server_that_takes_seven_bits_only(post):
    """One without 8BITMIME (RFC 6152) refuses other bytes for good."""
    box = Mailbox()
    where = post(box, security="none", decode_data=True)
    to = "Bø Ås <b@example.com>"
    send(SPECIAL, to=to, security="none", **where)
    received = email.message_from_string(box.mails[0].content, policy=email.policy.default)
    assert received["To"] == to
    for part in received.iter_parts():
        assert SPECIAL.error_message in part.get_content()


def test_seven_bits_for_a_server_that_takes_eight(post):
    """What stands behind it may not."""
    box = Mailbox()
    send(SPECIAL, **post(box))
    assert box.mails[0].content.isascii()


SPECIAL = FAILING._replace(error_message="påminnelse ‹…› 漢字")


@settings(max_examples=25)
@given(alert=hostile_alerts)
def test_hostile_text_cannot_lose_the_alert(post_once, alert):
    """Line breaks and lone surrogates in a job or an error neither raise nor add a header."""
    box, where = post_once
    box.mails.clear()
    send(alert._replace(alert_id="a1"), security="none", **where)
    (envelope,) = box.mails
    received = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert received["Bcc"] is None
    assert set(received.keys()) <= HEADERS


HEADERS = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"}
HEADERS |= {"Content-Type", "X-Peer", "X-MailFrom", "X-RcptTo"}


@pytest.fixture
def post_once(post):
    """One plain server for many mails."""
    box = Mailbox()
    return box, post(box, security="none")


def test_the_nastiest_subject(post):
    """A job name that tries to add a header becomes part of the subject."""
    box = Mailbox()
    send(FAILING._replace(job=f"x\r\nBcc: evil@example.com\u2028{NASTY}"), **post(box))
    received = email.message_from_bytes(box.mails[0].content, policy=email.policy.default)
    assert received["Bcc"] is None
    assert "Bcc: evil@example.com" in received["Subject"]


def chatters(connection, stop):
    """Greeting lines without an end, as fast as they are taken."""
    while not stop.is_set():
        connection.sendall(b"220-welcome\r\n" * 100)


def greets_on_one_line(connection, stop):
    """A greeting line without an end, as fast as it is taken."""
    connection.sendall(b"220 ")
    while not stop.is_set():
        connection.sendall(b"x" * 1000)


def silent_after_data(connection, stop):
    """Takes everything up to the end of the mail, then never says whether it has it."""
    connection.sendall(b"220 hi\r\n")
    for line in connection.makefile("rb"):
        if line.upper().startswith(b"DATA"):
            break
        connection.sendall(b"250 fine\r\n")
    connection.sendall(b"354 go on\r\n")
    stop.wait()


@pytest.mark.parametrize(
    "behave", [hostile.smtp_drips_its_banner, hostile.never_answers, silent_after_data]
)
@pytest.mark.parametrize("security", ["none", "ssl"])
def test_the_deadline_is_for_the_whole_conversation(behave, security):
    """However the server spreads its silence, the try ends when its time is up."""
    with hostile.serve(behave) as server:
        began = time.monotonic()
        with pytest.raises(ChannelError, match=r"timeout|smtp_port_is_plain"):
            send(host="127.0.0.1", port=str(server.port), security=security, deadline=began + 0.5)
        assert time.monotonic() - began < SOON


@pytest.mark.parametrize("behave", [chatters, greets_on_one_line])
def test_a_server_that_never_stops_greeting_is_left(behave):
    """Bytes are counted, not only seconds; it may be well again, so nothing is given up."""
    with hostile.serve(behave) as server, pytest.raises(ChannelError) as caught:
        send(host="127.0.0.1", port=str(server.port), security="none")
    assert (caught.value.code, caught.value.permanent) == ("answer_too_long", False)


def greets_with_554(connection, stop):
    """It talks to nobody now."""
    connection.sendall(b"554 go away\r\n")


def knows_nobody(connection, stop):
    """It greets, and then takes no name for an answer."""
    connection.sendall(b"220 hi\r\n")
    for _ in connection.makefile("rb"):
        connection.sendall(b"554 not you\r\n")


@pytest.mark.parametrize("behave", [greets_with_554, knows_nobody])
@pytest.mark.parametrize("security", ["none", "starttls"])
def test_a_server_that_takes_nobody_now(behave, security):
    """What is refused is not the e-mail: it is kept until the server takes it."""
    with hostile.serve(behave) as server, pytest.raises(ChannelError) as caught:
        send(host="127.0.0.1", port=str(server.port), security=security)
    assert (caught.value.code, caught.value.permanent) == ("smtp_554", False)


@pytest.mark.parametrize("security", ["starttls", "none"])
@pytest.mark.parametrize("behave", [hostile.never_answers, hostile.resets])
def test_a_port_that_begins_with_tls_asked_in_plain_text(behave, security, monkeypatch):
    """Both sides wait for the other to speak: the setting is named, not the time."""
    with hostile.serve(behave, tls=True) as server:
        monkeypatch.setattr(smtp, "TLS_PORT", server.port)
        with pytest.raises(ChannelError) as caught:
            send(
                host="127.0.0.1",
                port=str(server.port),
                security=security,
                deadline=time.monotonic() + 1,
            )
    assert caught.value.code == "smtp_port_is_tls"
    assert "set security to ssl" in explain(caught.value.code)


def test_a_port_that_begins_in_plain_text_asked_for_tls(post):
    """The other way round."""
    with pytest.raises(ChannelError, match="smtp_port_is_plain"):
        send(security="ssl", **post(Mailbox(), security="starttls"))
    assert "set security to starttls" in explain("smtp_port_is_plain")


def greets_and_resets(connection, stop):
    """A reset where the answer to EHLO should be."""
    connection.sendall(b"220 hi\r\n")
    hostile.resets(connection, stop)


def closes_at_once(connection, stop):
    """Not even a greeting."""


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (greets_and_resets, r"connection_reset|connection_closed"),
        (closes_at_once, r"connection_closed"),
        (hostile.is_not_http, r"bad_answer"),
    ],
)
def test_broken_conversations_have_codes(behave, code):
    """Each way to break off has its own word."""
    with hostile.serve(behave) as server, pytest.raises(ChannelError, match=code):
        send(host="127.0.0.1", port=str(server.port), security="none")


def test_nobody_waits_for_the_farewell(post):
    """The mail is taken when the server says so: a slow QUIT cannot turn it into a failure."""
    box = Mailbox()
    send(security="none", **post(box, security="none"))
    assert box.left.wait(10)
    assert len(box.mails) == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"security": "tls"}, "bad_option: security"),
        ({"port": "smtp"}, "bad_option: port"),
        ({"port": "0"}, "bad_option: port"),
        ({"port": "65536"}, "bad_option: port"),
        ({"to": "nobody"}, "bad_address: the option 'to'"),
        ({"from": "a@b\nc"}, "bad_address: the option 'from'"),
    ],
)
def test_wrong_options_are_named(options, code):
    """Where the channel is made, offline."""
    with pytest.raises(ChannelError, match=code):
        EmailSmtpChannel(**{"host": "mail.example.com", **ADDRESSES, **options})


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("ssl", 465), ("none", 25)])
def test_the_usual_ports(security, port, monkeypatch):
    """RFC 8314's ports unless one is set."""
    asked = []

    def connect(host, number, **options):
        asked.append(number)
        raise ChannelError("connection_refused")

    monkeypatch.setattr(sockets, "connect", connect)
    with pytest.raises(ChannelError):
        send(ALERTS[0], host="mail.example.com", security=security)
    assert asked == [port]
