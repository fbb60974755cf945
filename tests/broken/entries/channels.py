"""What is sent, and what must not be."""

from ..runner import Change, Entry

HTTP = "cronguard/channels/transport/http.py"
SLACK = "cronguard/channels/slack.py"
SMTP, APPRISE = "tests/channels/test_email_smtp.py", "tests/channels/test_apprise.py"

ENTRIES = (
    Entry(
        "the address is logged at DEBUG",
        (
            Change(
                HTTP,
                "        return sockets.sanitize_errors(\n"
                "            lambda: _post(url, body, headers or {},",
                "        import logging\n\n"
                '        logging.getLogger("cronguard").debug("POST %s", url)\n'
                "        return sockets.sanitize_errors(\n"
                "            lambda: _post(url, body, headers or {},",
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
        "the log channel asks no handler",
        (
            Change(
                "cronguard/channels/transport/handlers.py",
                "    if not taken:\n",
                "    if False:\n",
            ),
        ),
        (
            "tests/channels/test_log_channel.py::test_a_filter_that_refuses_the_record",
            "tests/channels/test_log_channel.py::test_a_handler_that_fails",
        ),
    ),
    Entry(
        "a disabled logger has the record",
        (Change("cronguard/channels/log.py", "    if logger.disabled:\n", "    if False:\n"),),
        ("tests/channels/test_log_channel.py::test_a_configuration_that_disables_loggers",),
    ),
    Entry(
        "e-mail in eight bits",
        (Change("cronguard/channels/email_smtp.py", 'cte_type="7bit"', 'cte_type="8bit"'),),
        ("tests/channels/test_email_smtp.py::test_a_server_that_takes_seven_bits_only",),
    ),
    Entry(
        "smtplib's own 500 is the server's",
        (
            Change(
                "cronguard/channels/transport/smtp.py",
                "        if isinstance(error.smtp_error, str):",
                "        if False:",
            ),
        ),
        ("tests/channels/test_email_smtp.py::test_a_server_that_never_stops_greeting_is_left",),
    ),
    Entry(
        "refused recipients are passed over in silence",
        (
            Change(
                "cronguard/channels/email_smtp.py", "        if refused:\n", "        if False:\n"
            ),
        ),
        (f"{SMTP}::test_one_refused_recipient_does_not_double_the_mail_for_the_others",),
    ),
    Entry(
        "an alert that some have is sent again",
        (
            Change(
                "cronguard/runtime/retries.py",
                "    if isinstance(error, PartialDelivery):\n",
                "    if False:\n",
            ),
        ),
        ("tests/runtime/test_delivery.py::test_what_only_some_have_is_sent_and_said",),
    ),
    Entry(
        "Apprise gets the whole text",
        (
            Change(
                "cronguard/channels/_apprise_process.py",
                "    body = rendering.fit(facts, room, partial(_size, service))\n",
                "    body = rendering.fit(facts, sys.maxsize)\n",
            ),
        ),
        (f"{APPRISE}::test_a_long_alert_fits_every_service_that_apprise_knows",),
    ),
    Entry(
        "a heartbeat's refusal in a 200 counts as taken",
        (
            Change(
                "cronguard/runtime/heartbeat_ping.py",
                'b"ok (not found)"',
                'b"nothing says this"',
            ),
        ),
        ("tests/runtime/test_heartbeat_ping.py::test_a_ping_that_was_not_taken",),
    ),
    Entry(
        "the proxy of the environment is asked unasked",
        (
            Change(
                "cronguard/channels/transport/proxy.py",
                "    address = used()\n",
                "    address = used() or ENVIRONMENT\n",
            ),
        ),
        ("tests/channels/test_proxy.py::test_what_the_environment_says",),
    ),
    Entry(
        "where alerts go is not remembered",
        (
            Change(
                "cronguard/runtime/runtime.py",
                "        if not self.pinned:\n",
                "        if False:\n",
            ),
        ),
        ("tests/runtime/test_known_channels.py::test_a_change_is_said_once",),
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
