"""What every e-mail says, and which addresses it takes."""

import html.parser

import pytest
from hypothesis import given
from support.alerts import ALERTS, FAILING, NASTY, hostile_alerts, of_kind

from cronguard.channels.transport import mail
from cronguard.core import rendering
from cronguard.core.errors import ChannelError


class Reader(html.parser.HTMLParser):
    """What a mail program makes of the HTML: its tags and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data):
        self.text.append(data)


TAGS = {"html", "body", "h2", "table", "tr", "td", "a"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.kind)
def test_subject_text_and_html_tell_the_facts(alert):
    """Job, streak and "Last successful run" in every form."""
    email = mail.compose(alert)
    assert email.subject == rendering.title(alert)
    assert email.text == rendering.text(alert)
    seen = Reader(email.html)
    for label, text in rendering.facts(alert):
        assert label in seen.text
        assert text in seen.text
    assert seen.links == ["https://wiki.example/runbooks/reminder?a=1&b=2"]


@given(hostile_alerts)
def test_hostile_text_stays_text(alert):
    """No tag, no link and no header comes out of an alert."""
    email = mail.compose(alert)
    assert set(Reader(email.html).tags) <= TAGS
    assert len(Reader(email.html).links) <= 1
    assert len(email.subject.splitlines()) <= 1
    assert len(email.subject) <= 200
    for part in (email.subject, email.text, email.html):
        part.encode()


def test_nothing_of_the_nastiest_message_is_markup():
    """The worst message, read back from the HTML, is what was to be shown."""
    alert = of_kind("failing")
    alert = type(alert)(alert_id="a", kind="failing", job="j", error_message=NASTY)
    assert rendering.plain(NASTY) in Reader(mail.html(alert)).text


@pytest.mark.parametrize(
    "text",
    [
        "ops@example.com",
        " ops@example.com\n",
        "Ops <ops@example.com>",
        '"Ops" <ops@example.com>',
        "Ops Team <ops+cron@mail.example.co.uk>",
        "Åse Ødegård <ase@example.no>",
        "root@localhost",
    ],
)
def test_addresses_that_are_taken(text):
    """With or without a name."""
    assert mail.address(text, "to") == text.strip()
    assert "<" not in mail.bare(text.strip())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ops",
        "ops@",
        "@example.com",
        "ops@exa mple.com",
        "ops@example.com>",
        "<ops@x.com",
        "a@b.com, c@d.com",
        "ops@example.com\nBcc: x@y.zz",
        "ops@example.com\r\nDATA",
        "o\u2028@x.com",
        "Ops\r\nBcc: x@y.zz <ops@example.com>",
        "a@b@c.com",
        "ops@-..com",
        "x" * 65 + "@example.com",
    ],
)
def test_addresses_that_are_not(text):
    """Refused by the option's name, without repeating what was there."""
    with pytest.raises(ChannelError) as caught:
        mail.address(text, "from")
    assert str(caught.value) == "bad_address: the option 'from' is no e-mail address"


def test_the_envelope():
    """``to`` holds several; ``from`` is one; both are checked where the channel is made."""
    known = mail.envelope(**{"to": "a@x.com, B <b@x.com>,", "from": "c@x.com"})
    assert known == mail.Envelope("c@x.com", ("a@x.com", "B <b@x.com>"))
    for wrong in ({"to": ""}, {"to": " , "}, {"to": "a@x.com, b"}):
        with pytest.raises(ChannelError, match="'to'"):
            mail.envelope(**{"from": "c@x.com", **wrong})
    for options in ({"to": "a@x.com"}, {"to": "a@x.com", "from": "c@x.com", "cc": "d@x.com"}):
        with pytest.raises(TypeError):
            mail.envelope(**options)


def test_the_mail_is_the_same_on_every_try():
    """An idempotency key needs the same bytes: nothing in the mail comes from a clock."""
    assert mail.compose(FAILING) == mail.compose(FAILING)
