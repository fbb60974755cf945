"""No secret is seen anywhere, whatever becomes of an alert and whoever looks on.

`support.watched` is a real guarded job and a real command line, each in a process of its own, with
logging at DEBUG, tracebacks that show variables, Sentry and OpenTelemetry. Here its channels are
given secrets and bad servers.
"""

import base64
import json
import select
import sqlite3
import subprocess
import sys
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import hostile, watched
from support.cli import Cli

pytestmark = pytest.mark.one_python

WATCHED = Path(watched.__file__)
JOB_ONLOOKERS = ("log", "rich", "traceback", "sentry", "spans", "objects", "stderr")
COMMAND_ONLOOKERS = ("log", "sentry", "spans")
ASKED = (
    *("deliver", "test-alert", "test-alert --json", "channels --json", "doctor --json"),
    *("status --json", f"history {watched.JOB} --json", "deliver --given-up", "check --json"),
    "report -o report.html",
)
FIRST = 5
"""So many of the commands at a time; the later ones show what the earlier have left."""
SECRETS = {
    "slack": "pLaNtEd-sLaCk-0a1b2c3d4e5f",
    "webhook": "pLaNtEd-wEbHoOk-0a1b2c3d4e5f",
    "signature": base64.b64encode(b"pLaNtEd-sIgNaTuRe-0a1b2c").decode(),
    "resend": "re_pLaNtEd_rEsEnD0a1b2c3d4e5f",
    "postmark": "0a1b2c3d-pLaN-tEdP-oStM-aRk4e5f6a7b8",
    "smtp": "pLaNtEd-sMtP-0a1b2c3d4e5f",
    "apprise": "pLaNtEd-aPpRiSe-0a1b2c3d4e5f",
    "database": "pLaNtEd-dAtAbAsE-0a1b2c",
    "supabase": "sb_secret_pLaNtEd_sUpAbAsE0a1b2c",
}
USER = "cron"
OURS = {"slack", "webhook", "email-resend", "email-postmark", "email-smtp"}
CHANNELS = OURS | {"apprise"}
"""With the one that sends from a process of its own, which loads some 190 services each time: it
is in a play wherever what it does differs."""
OPTIONS = {
    "slack": "SLACK_WEBHOOK_URL",
    "webhook": "WEBHOOK_SECRET",
    "email-resend": "EMAIL_RESEND_API_KEY",
    "email-postmark": "EMAIL_POSTMARK_SERVER_TOKEN",
    "email-smtp": "EMAIL_SMTP_PASSWORD",
    "apprise": "APPRISE_URL",
}
"""Channel → the variable of a secret without which it cannot send."""


def forms(secret):
    """A secret as it may appear: plain, in an address, and in the two ways it is sent encoded."""
    logins = (f"\0{USER}\0{secret}", f"{USER}:{secret}")
    return {
        secret,
        secret.lower(),  # as in a host's name
        urllib.parse.quote(secret, safe=""),
        *(base64.b64encode(each.encode()).decode().rstrip("=") for each in (secret, *logins)),
    }


NEEDLES = {form: name for name, secret in SECRETS.items() for form in forms(secret)}
NEEDLES["pLaNtEd-sIgNaTuRe"] = "signature"


class Stage:
    """The process that the plays of `support.watched` fork off from."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(WATCHED)],
            env={**Cli(Path("/")).environ, "PYTHONPATH": str(WATCHED.parents[1])}
            | {"PYTHONWARNINGS": "ignore"},  # other people's packages
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._answer() == "ready"

    def play(self, *plays):
        """The exit codes of plays that happen side by side."""
        self._process.stdin.write(json.dumps(plays) + "\n")
        return json.loads(self._answer())

    def _answer(self):
        patience = watched.PATIENCE + 10
        assert select.select([self._process.stdout], [], [], patience)[0]
        return self._process.stdout.readline().strip()

    def close(self):
        with self._process as process:
            process.stdin.close()
            assert process.wait(10) == 0


@pytest.fixture(scope="module")
def stage():
    stage = Stage()
    yield stage
    stage.close()


class Room:
    """The environment of one job, and everything that can be read about it afterwards."""

    def __init__(self, folder, stage):
        self.cli = Cli(folder)
        self.seen = folder / "seen"
        self._stage = stage
        self.cli.environ["PYTHONPATH"] = str(WATCHED.parents[1])
        self.cli.environ |= {"NO_PROXY": "*", "HTTP_PROXY": "http://127.0.0.1:9"}

    def run(self, ends=(0, 1), **environ):
        """Fail twice; then ask every command that knows something, or sends."""
        # Apprise is slow to load on a busy machine, and here what counts is what it comes to
        self.cli.environ |= {"DELIVERY_SECONDS": "50"} | environ
        control = hostile.answers()
        with hostile.serve(control) as server:
            self.cli.environ["CONTROL_URL"] = f"{server.url}/"
            assert self._stage.play(self._play("job")) == [1], self.said("job")
            for commands in (ASKED[:FIRST], ASKED[FIRST:]):
                ended = self._stage.play(*map(self._play, commands))
                for command, end in zip(commands, ended, strict=True):
                    assert end in ends, (command, self.said(command))
                    assert "internal error" not in self.said(command)
                    assert "Traceback" not in self.said(command)

    def _play(self, name):
        folder = self.seen / name
        folder.mkdir(parents=True)
        play = {"folder": str(folder), "environ": self.cli.environ}
        return play if name == "job" else {**play, "command": name.split()}

    def said(self, name, stream="stderr"):
        return (self.seen / name / stream).read_text("utf-8")

    def codes(self):
        """Channel → what its last try came to; the same whether a job or ``test-alert`` tried."""
        db = sqlite3.connect(self.cli.path)
        rows = db.execute("SELECT channel, error_code FROM cronguard_alerts ORDER BY rowid")
        found = dict(rows.fetchall())
        db.close()
        tried = json.loads(self.said("test-alert --json", "stdout"))["results"]
        assert {each["channel"]: each["error_code"] for each in tried} == found
        plain = self.said("test-alert", "stdout")
        assert [channel for channel in found if f" {channel} " not in plain] == []
        assert [code for code in found.values() if code and f"{code}" not in plain] == []
        return found

    def leaks(self):
        """(file, secret) for each that shows up where it must not."""
        files = [path for path in self.cli.folder.rglob("*") if path.is_file()]
        assert {"runs.db", "log", "stderr", "stdout"} <= {path.name for path in files}
        found = []
        for path in files:
            content = path.read_bytes()
            found += [
                (str(path.relative_to(self.cli.folder)), name)
                for needle, name in NEEDLES.items()
                if needle.encode() in content
            ]
        return found

    def check(self):
        onlookers = [("job", each) for each in JOB_ONLOOKERS]
        if sys.version_info < (3, 13):
            onlookers.append(("job", "cgitb"))
        onlookers += [(command, each) for command in ASKED for each in COMMAND_ONLOOKERS]
        assert [each for each in onlookers if watched.CONTROL not in self.said(*each)] == []
        assert self.leaks() == []


@pytest.fixture
def room(tmp_path, stage):
    return Room(tmp_path, stage)


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
    """Answers with a status and everything that it was sent: HTTP, or SMTP once told so.

    ``body`` is said instead of what came, where that is given; ``head`` is whether the headers
    repeat it too.
    """

    def __init__(self, status, *headers, smtp=False, body=None, head=True):
        self.status, self.headers, self.smtp = status, headers, smtp
        self.body, self.head = body, head
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
        headers = [*([("X-Echo", said)] if self.head else []), *self.headers]
        body = said.encode() + request.body if self.body is None else self.body
        connection.sendall(hostile.answer(self.status, body, headers))

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


HERE = "http://127.0.0.1"


def environ(web, mail, **changed):
    """Every channel with its secret. ``web`` and ``mail`` are (scheme and host, port)."""
    base, port = f"{web[0]}:{web[1]}", str(mail[1])
    with_login = base.replace("://", f"://{USER}:{SECRETS['webhook']}@")
    apprise = base.replace("http", "json").replace("://", f"://{USER}:{SECRETS['apprise']}@")
    notified = {
        "CHANNELS": ",".join(sorted(CHANNELS)),
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
        "APPRISE_URL": f"{apprise}/{SECRETS['apprise']}?+key={SECRETS['apprise']}",
    }
    for channel in ("RESEND", "POSTMARK", "SMTP"):
        notified |= {
            f"EMAIL_{channel}_FROM": "cron@example.com",
            f"EMAIL_{channel}_TO": "o@example.com",
        }
    notified |= changed
    return {f"CRONGUARD_{name}": value for name, value in notified.items()} | {"MAIL_API_URL": base}


def without(codes, channel):
    return {each: code for each, code in codes.items() if each != channel}


@pytest.mark.parametrize(
    ("status", "reply", "channels"),
    [
        (401, 530, CHANNELS),
        pytest.param(500, 454, OURS, marks=pytest.mark.long),
    ],
    ids=["for good", "for now"],
)
def test_refused_with_an_echo(room, status, reply, channels):
    """The other side says no, and repeats in head and body all that it was sent."""
    web, mail = Echo(status), Echo(reply, smtp=True)
    with hostile.serve(web) as server, hostile.serve(mail) as post:
        told = ",".join(sorted(channels))
        room.run(**environ((HERE, server.port), (HERE, post.port), CHANNELS=told))
    codes = room.codes()
    assert codes.keys() == channels
    assert set(without(codes, "email-smtp").values()) == {f"http_{status}"}
    assert codes["email-smtp"] == f"smtp_{reply}"
    assert web.asked >= 15
    assert mail.asked >= 3
    room.check()
    seen = web.command_lines + mail.command_lines
    assert "watched.py" in seen
    assert "_apprise" in seen or "apprise" not in channels  # another test may run one
    assert [name for needle, name in NEEDLES.items() if needle in seen] == []


@pytest.mark.long
def test_redirected_elsewhere(room):
    """A 307 to another origin: nobody is asked there, and nothing is told of where it led.

    SMTP knows no redirect; 551 is what comes nearest (RFC 5321, 4.2.3).
    """
    elsewhere = Echo(200)
    with ExitStack() as stack:
        other = stack.enter_context(hostile.serve(elsewhere))
        target = f"http://localhost:{other.port}/{SECRETS['slack']}"
        web = stack.enter_context(hostile.serve(Echo(307, ("Location", target))))
        post = stack.enter_context(hostile.serve(Echo(551, smtp=True)))
        room.run(**environ((HERE, web.port), (HERE, post.port)))
    codes = room.codes()
    assert codes.keys() == CHANNELS
    assert set(without(codes, "email-smtp").values()) == {"http_307"}
    assert codes["email-smtp"] == "smtp_551"
    assert elsewhere.asked == 0
    room.check()


@pytest.mark.long
def test_nobody_there(room):
    """A port that refuses."""
    port = hostile.refusing_port()
    room.run(**environ((HERE, port), (HERE, port), CHANNELS=",".join(sorted(OURS))))
    assert room.codes() == dict.fromkeys(OURS, "connection_refused")
    room.check()


@pytest.mark.long
def test_a_certificate_of_nobody(room):
    """TLS that fails, for HTTP and SMTP."""
    with hostile.serve(Echo(200), tls=True) as server:
        place = ("https://127.0.0.1", server.port)
        room.run(**environ(place, place, EMAIL_SMTP_SECURITY="ssl"))
    assert room.codes() == dict.fromkeys(CHANNELS, "tls_certificate")
    room.check()


@pytest.mark.long
@pytest.mark.parametrize(
    ("resolver", "code", "seconds", "channels"),
    [
        ("knows nobody", "dns_failure", "50", CHANNELS),
        ("never answers", "timeout", "2", OURS),
    ],
    ids=["knows nobody", "never answers"],
)
def test_a_name_that_nobody_knows(room, resolver, code, seconds, channels):
    """The secret in the host's own name, which errors of resolvers and TLS like to repeat."""
    host = f"{SECRETS['slack']}.invalid"
    notified = environ((f"https://{host}", 1), (HERE, 1), EMAIL_SMTP_HOST=host)
    notified["CRONGUARD_CHANNELS"] = ",".join(sorted(channels))
    notified["CRONGUARD_EMAIL_SMTP_SECURITY"] = "ssl"  # nobody sends a password there without
    room.run(**notified, RESOLVER=resolver, DELIVERY_SECONDS=seconds)
    codes = room.codes()
    assert codes.keys() == channels
    # Apprise asks the real resolver, in a process of its own
    assert codes.pop("apprise", code) in {"dns_failure", "timeout"}
    assert set(codes.values()) == {code}
    room.check()


@pytest.mark.long
def test_secrets_that_cannot_be_used(room):
    """A line break inside an address or a key, letters that do not go into a header, no base64."""
    mail = Echo(535, smtp=True)
    with hostile.serve(Echo(200)) as server, hostile.serve(mail) as post:
        notified = environ((HERE, server.port), (HERE, post.port))
        notified["CRONGUARD_SLACK_WEBHOOK_URL"] += "\nx"
        notified["CRONGUARD_WEBHOOK_SECRET"] = f"{SECRETS['signature']}!"
        notified["CRONGUARD_EMAIL_RESEND_API_KEY"] += "\r\nBcc: x"
        notified["CRONGUARD_EMAIL_POSTMARK_SERVER_TOKEN"] += "é"
        notified["CRONGUARD_EMAIL_SMTP_PASSWORD"] += "é"
        notified["CRONGUARD_APPRISE_URL"] += "\nx"
        room.run(**notified)
    assert room.codes() == {
        "slack": "bad_url",
        "webhook": "bad_secret",
        "email-resend": "bad_header",
        "email-postmark": "bad_header",
        "email-smtp": "bad_option",
        "apprise": "bad_url",
    }
    room.check()


@pytest.mark.long
def test_addresses_that_are_none(room):
    """An address with a line break, without a scheme, without an end, for every HTTP channel."""
    notified = environ((HERE, 1), (HERE, hostile.refusing_port()))
    notified["CRONGUARD_SLACK_WEBHOOK_URL"] = f"https:/{SECRETS['slack']}"
    notified["CRONGUARD_WEBHOOK_URL"] += "\r\nx"
    notified["CRONGUARD_APPRISE_URL"] = f"nonsense://{SECRETS['apprise']}"
    notified["MAIL_API_URL"] = f"https://[::1/{SECRETS['resend']}"
    room.run(**notified)
    assert room.codes() == dict.fromkeys(CHANNELS, "bad_url") | {"email-smtp": "connection_refused"}
    room.check()


EMPTY_VAULT = Echo(200, body=b'{"value": null}', head=False)


@pytest.mark.long
@pytest.mark.parametrize(
    ("reference", "answer", "code"),
    [
        ("env:NOT_THERE", None, "secret_missing"),
        (
            "vault:cronguard_not_there",
            Echo(200, body=b'{"value": null}', head=False),
            "secret_missing",
        ),
        ("vault:cronguard_not_there", Echo(401, head=False), "secret_unreadable"),
        ("vault:cronguard_not_there", None, "secret_unreadable"),
    ],
    ids=["env", "not in the vault", "no key to the vault", "no vault"],
)
def test_secrets_that_cannot_be_resolved(room, reference, answer, code):
    """References that lead nowhere, beside secrets that can be read; the vault repeats its key."""
    port = hostile.refusing_port()
    with ExitStack() as stack:
        vault = stack.enter_context(hostile.serve(answer)).port if answer else port
        notified = environ((HERE, port), (HERE, port))
        notified |= {f"CRONGUARD_{option}": reference for option in OPTIONS.values()}
        notified |= {"SUPABASE_URL": f"{HERE}:{vault}", "SUPABASE_SECRET_KEY": SECRETS["supabase"]}
        room.run(**notified)
    assert room.codes() == dict.fromkeys(CHANNELS, code)
    room.check()


@pytest.mark.long
def test_secrets_out_of_the_vault(room):
    """What the vault holds is seen as little as what the environment holds."""
    with hostile.serve(Echo(404)) as server:
        notified = environ((HERE, server.port), (HERE, server.port), CHANNELS="slack")
        value = json.dumps({"value": notified["CRONGUARD_SLACK_WEBHOOK_URL"]}).encode()
        with hostile.serve(hostile.answers(200, value)) as vault:
            notified["CRONGUARD_SLACK_WEBHOOK_URL"] = "vault:cronguard_slack"
            notified["SUPABASE_URL"] = f"{HERE}:{vault.port}"
            notified["SUPABASE_SECRET_KEY"] = SECRETS["supabase"]
            room.run(**notified)
    assert room.codes() == {"slack": "http_404"}
    room.check()


@pytest.mark.long
def test_taken(room):
    """When all goes well nothing is seen either."""
    with hostile.serve(Echo(200)) as server:
        place = (HERE, server.port)
        channels = CHANNELS - {"email-smtp"}
        room.run(**environ(place, place, CHANNELS=",".join(channels)))
    assert room.codes() == dict.fromkeys(channels)
    room.check()


@pytest.mark.long
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
    notified = {"CRONGUARD_STORE": "env:DATABASE_URL", "DATABASE_URL": dsn}
    room.run(**notified, CRONGUARD_CHANNELS="console", ends=(0, 1, 2))
    room.check()


@pytest.mark.long
@pytest.mark.parametrize(
    "answer", [Echo(401, head=False), Echo(500, head=False), None], ids=["401", "500", "refused"]
)
def test_the_key_of_a_project(room, answer):
    """A Supabase project that refuses the key and repeats it, or that is not there."""
    with ExitStack() as stack:
        port = stack.enter_context(hostile.serve(answer)).port if answer else None
        room.cli.path.touch()
        room.run(
            CRONGUARD_STORE="supabase",
            SUPABASE_URL=f"{HERE}:{port or hostile.refusing_port()}",
            SUPABASE_SECRET_KEY=SECRETS["supabase"],
            CRONGUARD_CHANNELS="console",
        )
    room.check()


def test_a_command_that_prints_its_secret(tmp_path):
    """`cronguard run` keeps the end of standard error, but not what is secret in it."""
    cli = Cli(tmp_path)
    cli.environ["TOKEN"] = f"https://hooks.example.com/services/{SECRETS['slack']}"
    script = 'echo "cannot post to $TOKEN: 404; password=$P" >&2; exit 3'
    cli.environ["P"] = SECRETS["smtp"]
    done = cli("run", "nightly", "--threshold", "1", "--", "sh", "-c", script)
    assert done.returncode == 3
    assert "cannot post to" in cli.runs("nightly")[0].failure.error_message
    kept = [path for path in cli.folder.rglob("*") if path.is_file() and "runs.db" in str(path)]
    files = {str(path): path.read_bytes() for path in kept}
    for command in ("status", "history nightly", "history nightly --json"):
        files[command] = cli(*command.split()).stdout.encode()
    assert [
        (name, secret)
        for name, data in files.items()
        for secret in SECRETS.values()
        if secret.encode() in data
    ] == []


def test_the_search_finds(tmp_path):
    """What is looked for would be found: in every form, in every file."""
    room = Room(tmp_path, None)
    for number, needle in enumerate(NEEDLES):
        (tmp_path / f"{number}").write_text(f"x{needle}y")
    for name in ("log", "stderr", "stdout"):
        (tmp_path / name).touch()
    room.cli.path.touch()
    assert {name for _, name in room.leaks()} == set(SECRETS)
    assert len({path for path, _ in room.leaks()}) == len(NEEDLES)
