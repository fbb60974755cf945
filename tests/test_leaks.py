"""No secret is seen anywhere, whatever becomes of an alert and whoever looks on.

`support.watched` is a real guarded job in a process of its own, with logging at DEBUG, tracebacks
that show variables, Sentry and OpenTelemetry. Here its channels are given secrets and bad servers.
"""

import base64
import sqlite3
import subprocess
import sys
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import hostile, watched
from support.cli import Cli

WATCHED = Path(watched.__file__)
PATIENCE = 60
ONLOOKERS = ("log", "rich", "traceback", "sentry", "spans", "objects", "stderr")
SECRETS = {
    "slack": "pLaNtEd-sLaCk-0a1b2c3d4e5f",
    "webhook": "pLaNtEd-wEbHoOk-0a1b2c3d4e5f",
    "signature": base64.b64encode(b"pLaNtEd-sIgNaTuRe-0a1b2c").decode(),
    "resend": "re_pLaNtEd_rEsEnD0a1b2c3d4e5f",
    "postmark": "0a1b2c3d-pLaN-tEdP-oStM-aRk4e5f6a7b8",
    "smtp": "pLaNtEd-sMtP-0a1b2c3d4e5f",
    "database": "pLaNtEd-dAtAbAsE-0a1b2c",
}
USER = "cron"


def forms(secret):
    """A secret as it may appear: plain, in an address, and in the two ways it is sent encoded."""
    login = f"\0{USER}\0{secret}".encode()
    return {
        secret,
        urllib.parse.quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode().rstrip("="),
        base64.b64encode(login).decode().rstrip("="),
    }


NEEDLES = {form: name for name, secret in SECRETS.items() for form in forms(secret)}
NEEDLES["pLaNtEd-sIgNaTuRe"] = "signature"


class Room:
    """The environment of one job, and everything that can be read about it afterwards."""

    def __init__(self, folder):
        self.cli = Cli(folder)
        self.folder = folder / "seen"
        self.folder.mkdir()
        del self.cli.environ["PYTHONWARNINGS"]  # other people's packages
        self.cli.environ["PYTHONPATH"] = str(WATCHED.parents[1])
        self.cli.environ |= {"NO_PROXY": "*", "HTTP_PROXY": "http://127.0.0.1:9"}

    def run(self, **environ):
        """Fail twice; then ask every command that knows something."""
        self.cli.environ |= environ
        control = hostile.answers()
        with hostile.serve(control) as server:
            done = subprocess.run(
                [sys.executable, str(WATCHED), str(self.folder)],
                env=self.cli.environ | {"CONTROL_URL": f"{server.url}/"},
                cwd=self.folder,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        (self.folder / "stdout").write_bytes(done.stdout)
        (self.folder / "stderr").write_bytes(done.stderr)
        assert done.returncode == 1, done.stderr.decode()[-3000:]
        for command in (
            *("deliver --dead", "doctor --json", "channels --json"),
            *("status --json", f"history {watched.JOB} --json"),
        ):
            asked = self.cli(*command.split())
            assert "internal error" not in asked.stderr
            text = asked.stdout + asked.stderr
            (self.folder / f"cli {command}").write_text(text, encoding="utf-8")

    def codes(self):
        """Channel → what its last try came to."""
        db = sqlite3.connect(self.cli.path)
        rows = db.execute("SELECT channel, error_code FROM cronguard_alerts ORDER BY rowid")
        found = dict(rows.fetchall())
        db.close()
        return found

    def leaks(self):
        """(file, secret) for each that shows up where it must not."""
        files = [path for path in self.cli.folder.rglob("*") if path.is_file()]
        assert {"runs.db", "log", "stderr", "cli doctor --json"} <= {path.name for path in files}
        return [
            (str(path.relative_to(self.cli.folder)), name)
            for path in files
            for needle, name in NEEDLES.items()
            if needle.encode() in path.read_bytes()
        ]

    def check(self):
        onlookers = [*ONLOOKERS, *(["cgitb"] if sys.version_info < (3, 13) else [])]
        blind = [
            name
            for name in onlookers
            if watched.CONTROL not in (self.folder / name).read_text(encoding="utf-8")
        ]
        assert blind == []
        assert self.leaks() == []


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


# --- the other side --------------------------------------------------------------------------


def lines_of_processes():
    """The command line of every process that can be read."""
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes()
        except OSError:
            continue
    return found.decode("utf-8", "replace")


class Echo:
    """Answers with a status and everything that it was sent: HTTP, or SMTP once told so."""

    def __init__(self, status, *headers, smtp=False):
        self.status, self.headers, self.smtp = status, headers, smtp
        self.asked, self.command_lines = 0, ""

    def __call__(self, connection, stop):
        self.asked += 1
        self.command_lines += lines_of_processes()
        (self._mail if self.smtp else self._web)(connection)

    def _web(self, connection):
        request = hostile.read_request(connection)
        if request is None:
            return
        said = f"{request.target} {request.headers}".replace("\r", " ").replace("\n", " ")
        headers = [("X-Echo", said), *self.headers]
        connection.sendall(hostile.answer(self.status, said.encode() + request.body, headers))

    def _mail(self, connection):
        connection.sendall(b"220 hi\r\n")
        for line in connection.makefile("rb"):
            if line.upper().startswith(b"EHLO"):
                connection.sendall(b"250-mail\r\n250 AUTH PLAIN LOGIN\r\n")
            elif line.upper().startswith(b"AUTH"):
                answer = f"{self.status} 5.7.8 ".encode() + line.strip() + SECRETS["smtp"].encode()
                connection.sendall(answer + b"\r\n")
            else:
                connection.sendall(b"221 bye\r\n")


def environ(web, mail, **changed):
    """Every channel with its secret. ``web`` and ``mail`` are (scheme and host, port)."""
    base, port = f"{web[0]}:{web[1]}", str(mail[1])
    with_login = base.replace("://", f"://{USER}:{SECRETS['webhook']}@")
    told = {
        "CHANNELS": "slack,webhook,email-resend,email-postmark,email-smtp",
        "SLACK_WEBHOOK_URL": f"{base}/services/T0/B0/{SECRETS['slack']}",
        "WEBHOOK_URL": f"{with_login}/{SECRETS['webhook']}?key={SECRETS['webhook']}",
        "WEBHOOK_SECRET": f"whsec_{SECRETS['signature']}",
        "EMAIL_RESEND_API_KEY": SECRETS["resend"],
        "EMAIL_POSTMARK_SERVER_TOKEN": SECRETS["postmark"],
        "EMAIL_SMTP_HOST": "127.0.0.1",
        "EMAIL_SMTP_PORT": port,
        "EMAIL_SMTP_SECURITY": "none",
        "EMAIL_SMTP_USER": USER,
        "EMAIL_SMTP_PASSWORD": SECRETS["smtp"],
    }
    for channel in ("RESEND", "POSTMARK", "SMTP"):
        told |= {
            f"EMAIL_{channel}_FROM": "cron@example.com",
            f"EMAIL_{channel}_TO": "o@example.com",
        }
    told |= changed
    return {f"CRONGUARD_{name}": value for name, value in told.items()} | {"MAIL_API_URL": base}


HERE = "http://127.0.0.1"


@pytest.mark.parametrize(("status", "reply"), [(404, 535), (500, 454)])
def test_refused_with_an_echo(room, status, reply):
    """The other side says no, and repeats in head and body all that it was sent."""
    web, mail = Echo(status), Echo(reply, smtp=True)
    with hostile.serve(web) as server, hostile.serve(mail) as post:
        room.run(**environ((HERE, server.port), (HERE, post.port)))
    codes = room.codes()
    assert {codes[name] for name in codes if name != "email-smtp"} == {f"http_{status}"}
    assert codes["email-smtp"] == f"smtp_{reply}"
    assert web.asked >= 4
    assert mail.asked >= 1
    room.check()
    seen = web.command_lines + mail.command_lines
    assert "watched.py" in seen
    assert [name for needle, name in NEEDLES.items() if needle in seen] == []


def test_redirected_elsewhere(room):
    """A 307 to another origin: nobody is asked there, and nothing is told of where it led."""
    elsewhere = Echo(200)
    with ExitStack() as stack:
        other = stack.enter_context(hostile.serve(elsewhere))
        target = f"http://localhost:{other.port}/{SECRETS['slack']}"
        web = stack.enter_context(hostile.serve(Echo(307, ("Location", target))))
        room.run(**environ((HERE, web.port), (HERE, other.port), CHANNELS="slack,webhook"))
    assert set(room.codes().values()) == {"http_307"}
    assert elsewhere.asked == 0
    room.check()


def test_nobody_there(room):
    """A port that refuses."""
    port = hostile.refusing_port()
    room.run(**environ((HERE, port), (HERE, port)))
    assert set(room.codes().values()) == {"connection_refused"}
    assert len(room.codes()) == 5
    room.check()


def test_a_certificate_of_nobody(room):
    """TLS that fails, for HTTP and SMTP."""
    with hostile.serve(Echo(200), tls=True) as server:
        place = ("https://127.0.0.1", server.port)
        room.run(**environ(place, place, EMAIL_SMTP_SECURITY="ssl"))
    assert set(room.codes().values()) == {"tls_certificate"}
    assert len(room.codes()) == 5
    room.check()


def test_a_name_that_nobody_knows(room):
    """The secret in the host's own name, which errors of resolvers and TLS like to repeat."""
    name = f"https://{SECRETS['slack']}.invalid"
    room.run(**environ((name, 1), (HERE, 1), CHANNELS="slack,webhook", EMAIL_SMTP_HOST="x.invalid"))
    assert set(room.codes().values()) <= {"dns_failure", "timeout"}
    room.check()


def test_secrets_that_cannot_be_used(room):
    """A line break inside an address or a key, letters that do not go into a header, no base64."""
    mail = Echo(535, smtp=True)
    with hostile.serve(Echo(200)) as server, hostile.serve(mail) as post:
        told = environ((HERE, server.port), (HERE, post.port))
        told["CRONGUARD_SLACK_WEBHOOK_URL"] += "\nx"
        told["CRONGUARD_WEBHOOK_SECRET"] = f"{SECRETS['signature']}!"
        told["CRONGUARD_EMAIL_RESEND_API_KEY"] += "\r\nBcc: x"
        told["CRONGUARD_EMAIL_POSTMARK_SERVER_TOKEN"] += "é"
        told["CRONGUARD_EMAIL_SMTP_PASSWORD"] += "é"
        room.run(**told)
    assert room.codes() == {
        "slack": "bad_url",
        "webhook": "bad_secret",
        "email-resend": "bad_header",
        "email-postmark": "bad_header",
        "email-smtp": "bad_option",
    }
    room.check()


def test_secrets_that_cannot_be_resolved(room):
    """References that lead nowhere, and one channel that is all right beside them."""
    with hostile.serve(Echo(404)) as server:
        told = environ(
            (HERE, server.port), (HERE, server.port), CHANNELS="slack,webhook,email-resend"
        )
        told["CRONGUARD_WEBHOOK_SECRET"] = "env:NOT_THERE"
        told["CRONGUARD_EMAIL_RESEND_API_KEY"] = "vault:not_there"
        room.run(**told)
    codes = room.codes()
    assert codes["slack"] == "http_404"
    assert {codes["webhook"], codes["email-resend"]} <= {"secret_missing", "secret_unreadable"}
    room.check()


def test_taken(room):
    """When all goes well nothing is seen either."""
    with hostile.serve(Echo(200)) as server:
        place = (HERE, server.port)
        room.run(**environ(place, place, CHANNELS="slack,webhook,email-resend,email-postmark"))
    assert set(room.codes().values()) == {None}
    room.check()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://app:{}@127.0.0.1:{}/app",
        "postgresql://app:{}@[::1/app",
        "postgresql://app:{}@127.0.0.1:port/app",
        "postgresql://app:{}%zz@127.0.0.1/app?nonsense=1",
        "host=127.0.0.1 password={}",
        "mysql://app:{}@127.0.0.1/app",
    ],
)
def test_the_address_of_a_database(room, address):
    """A store that cannot be reached, or an address that libpq would repeat in its error."""
    dsn = address.format(SECRETS["database"], hostile.refusing_port())
    room.cli.path.touch()
    room.run(CRONGUARD_STORE="env:DATABASE_URL", DATABASE_URL=dsn, CRONGUARD_CHANNELS="console")
    room.check()


def test_a_command_that_prints_its_secret(room):
    """`cronguard run` keeps the end of standard error, but not what is secret in it."""
    room.cli.environ["TOKEN"] = f"https://hooks.example.com/services/{SECRETS['slack']}"
    script = 'echo "cannot post to $TOKEN: 404; password=$P" >&2; exit 3'
    room.cli.environ["P"] = SECRETS["smtp"]
    done = room.cli("run", "nightly", "--threshold", "1", "--", "sh", "-c", script)
    assert done.returncode == 3
    assert "cannot post to" in room.cli.runs("nightly")[0].failure.error_message
    files = {path.name: path.read_bytes() for path in room.cli.folder.glob("runs.db*")}
    for command in ("status", "history nightly", "history nightly --json"):
        files[command] = room.cli(*command.split()).stdout.encode()
    assert [
        (name, secret)
        for name, data in files.items()
        for secret in SECRETS.values()
        if secret.encode() in data
    ] == []


def test_the_search_finds(room):
    """What is looked for would be found: in every form, in every file."""
    for number, needle in enumerate(NEEDLES):
        (room.folder / f"{number}").write_text(f"x{needle}y")
    for name in ("log", "stderr", "cli doctor --json"):
        (room.folder / name).touch()
    room.cli.path.touch()
    assert {name for _, name in room.leaks()} == set(SECRETS)
    assert len({path for path, _ in room.leaks()}) == len(NEEDLES)
