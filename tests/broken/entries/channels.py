"""What is sent, and what must not be."""

from ..runner import Change, Entry

HTTP = "cronguard/channels/transport/http.py"
SLACK = "cronguard/channels/slack.py"

ENTRIES = (
    Entry(
        "the address is logged at DEBUG",
        (
            Change(
                HTTP,
                "    return sockets.sanitize_errors(\n"
                "        lambda: _post(url, body, headers or {},",
                "    import logging\n\n"
                '    logging.getLogger("cronguard").debug("POST %s", url)\n'
                "    return sockets.sanitize_errors(\n"
                "        lambda: _post(url, body, headers or {},",
            ),
        ),
        ("tests/channels/test_http.py::test_no_secret_leaves_it",),
    ),
    Entry(
        "a refused address is repeated",
        (
            Change(
                HTTP,
                'detail="the address holds a space or a control character"',
                'detail=f"the address {text} holds a space or a control character"',
            ),
        ),
        ("tests/channels/test_http.py::test_a_refused_address_is_not_repeated",),
    ),
    Entry(
        "< is not escaped",
        (Change(SLACK, '.replace("<", "&lt;")', ""),),
        ("tests/channels/test_slack.py::test_hostile_text_cannot_break_out",),
    ),
    Entry(
        "a text is not verbatim",
        (Change(SLACK, '"verbatim": True', '"verbatim": False'),),
        ("tests/channels/test_slack.py::test_hostile_text_cannot_break_out",),
    ),
    Entry(
        "no Idempotency-Key",
        (
            Change(
                "cronguard/channels/email_resend.py",
                '                "Idempotency-Key": message.alert.alert_id,\n',
                "",
            ),
        ),
        ("tests/channels/test_email_resend.py::test_the_request_is_the_sdks",),
    ),
    Entry(
        "goes on where the server offers no STARTTLS",
        (
            Change(
                "cronguard/channels/transport/smtp.py",
                'raise ChannelError("smtp_unsupported", detail="the server offers no STARTTLS")',
                "return",
            ),
        ),
        ("tests/channels/test_email_smtp.py::test_no_falling_back_to_plain_text",),
    ),
    Entry(
        "a cell escapes nothing",
        (
            Change(
                "cronguard/channels/transport/mail.py",
                "    shown = _html.escape(text)\n",
                "    shown = text\n",
            ),
        ),
        ("tests/channels/test_mail.py::test_hostile_text_stays_text",),
    ),
)
