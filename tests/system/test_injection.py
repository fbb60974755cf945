"""A message that tries to inject, from a failing job to every place where people look at it."""

import email
import email.policy
import json
import os
import sqlite3
import subprocess
import sys

import pytest
from support import mailbox
from support.aftermath import assert_goes_on
from support.cli import Cli
from support.hostile import answers, serve
from support.mailbox import Mailbox

from cronguard.stores.sqlite.store import SQLiteStore

pytestmark = pytest.mark.one_python

JOB = r"""
from cronguard import cron_guarded

@cron_guarded(job="nightly", threshold=1)
def nightly():
    # A literal of the code is kept by redaction, so all of it reaches every channel.
    raise ValueError(
        "failed <!channel> <https://evil.example|ok> `code` *bold* & <script>alert(1)</script>"
        "\r\nBcc: boss@evil.example\r\n\r\n\x1b[2J\x1b]0;owned\x07"
        " \"}, {\"kind\": \"x\" \u202e\u2028 end"
        f" {private}"
    )

private = "Kari Nordmann kari.nordmann@mail.example"
try:
    nightly()
except ValueError:
    pass
"""
CONTROLS = ("\x1b", "\x07", "\r", "\u202e", "\u2028", "\x00")


@pytest.fixture
def seen(tmp_path):
    """What arrived where: slack, webhook, mail, console, row, status, history."""
    slack, hook, box = answers(body=b"ok"), answers(), Mailbox()
    script = tmp_path / "job.py"
    script.write_text(JOB, encoding="utf-8")
    with (
        serve(slack) as slack_server,
        serve(hook) as hook_server,
        mailbox.serve(box, security="none") as port,
    ):
        environ = {
            **os.environ,
            "CRONGUARD_STORE": f"sqlite:///{tmp_path}/log.db",
            "CRONGUARD_CHANNELS": "console,slack,webhook,email-smtp",
            "CRONGUARD_SLACK_WEBHOOK_URL": slack_server.url,
            "CRONGUARD_WEBHOOK_URL": hook_server.url,
            "CRONGUARD_EMAIL_SMTP_HOST": "127.0.0.1",
            "CRONGUARD_EMAIL_SMTP_PORT": str(port),
            "CRONGUARD_EMAIL_SMTP_SECURITY": "none",
            "CRONGUARD_EMAIL_SMTP_FROM": "cron@example.com",
            "CRONGUARD_EMAIL_SMTP_TO": "team@example.com",
            "PYTHONIOENCODING": "utf-8",
        }

        def run(*command):
            return subprocess.run(
                [sys.executable, *command],
                env=environ,
                cwd=tmp_path,
                capture_output=True,
                encoding="utf-8",
                timeout=60,
                check=False,
            )

        done = run(str(script))
        assert done.returncode == 0, done.stderr
        shown = {
            name: run("-m", "cronguard", *name.split()) for name in ("status", "history nightly")
        }
        listed = run("-m", "cronguard", "history", "nightly", "--json")
    store = SQLiteStore(tmp_path / "log.db")
    assert_goes_on(store, "nightly")
    store.close()
    db = sqlite3.connect(tmp_path / "log.db")
    (row,) = db.execute("SELECT error_message FROM cron_execution_logs ORDER BY rowid").fetchone()
    db.close()
    return {
        "slack": slack.received[0].json,
        "webhook": hook.received[0].json,
        "mail": email.message_from_bytes(box.mails[0].content, policy=email.policy.default),
        "recipients": box.mails[0].rcpt_tos,
        "console": done.stderr,
        "row": row,
        "json": json.loads(listed.stdout),
        "terminal": [answer.stdout for answer in shown.values()],
        "files": b"".join(
            file.read_bytes()
            for place in tmp_path.glob("log.db*")
            for file in (place, *place.rglob("*"))
            if file.is_file()
        ),
    }


def test_it_arrives_harmless_everywhere_and_is_one_text(seen):
    """No control character, mention, link, header, tag or field comes of it; and one redaction
    stands in row, alert and command line, with nothing raw stored anywhere."""
    message = seen["row"]
    assert message.startswith("failed <!channel>")
    assert message.endswith("‹…›")
    assert seen["webhook"]["error_message"] == message
    assert seen["webhook"]["kind"] == "failing"
    assert message in json.dumps(seen["json"], ensure_ascii=False).replace('\\"', '"')

    for text in (message, seen["console"], *seen["terminal"]):
        assert not [control for control in CONTROLS if control in text.replace("\r\n", "\n")]

    slack = json.dumps(seen["slack"], ensure_ascii=False)
    assert "<!channel>" not in slack
    assert "<https://evil" not in slack
    assert "`code`" not in slack

    mail = seen["mail"]
    assert seen["recipients"] == ["team@example.com"]
    assert mail["Bcc"] is None
    assert "nightly" in mail["Subject"]
    html = mail.get_body(("html",)).get_content()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html

    assert b"Kari" not in seen["files"]
    assert b"nordmann" not in seen["files"].lower()
    assert "Kari" not in seen["console"] + slack + html + json.dumps(seen["webhook"])


def test_a_commands_last_words_are_harmless_too(tmp_path):
    """`cronguard run` hands its command's output on as it is, and shows none of it as it was."""
    cli = Cli(tmp_path)
    said = (
        r"\033]0;owned\007\033[31mfailed\033[0m <!channel> <script>alert(1)</script> \342\200\256"
        r"\r\nBcc: boss@evil.example\000\n"
    )
    done = cli(
        "run", "nightly", "--threshold", "1", "--", "sh", "-c", f"printf '{said}' >&2; exit 3"
    )
    assert done.returncode == 3
    message = cli.runs("nightly")[0].failure.error_message
    assert "failed <!channel>" in message
    assert "evil" not in message
    cli("report", "-o", "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    alert = done.stderr.partition("cronguard: nightly is failing")[2]
    assert "failed" in alert
    for text in (message, alert, cli("status").stdout, cli("history", "nightly").stdout, page):
        assert not [control for control in CONTROLS if control in text]
    assert "<script>alert" not in page
