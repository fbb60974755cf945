"""Mistakes that people make, each with the one line that says what, why and what to do.

Read them aloud: somebody who is tired has to understand each at three in the morning.
"""

import os
import re
import shlex
from typing import NamedTuple

import pytest
from support.cli import Cli, Here
from support.processes import respect_modes

from cronguard import configure, cron_guarded, guard
from cronguard.core.errors import ConfigError
from cronguard.settings.store_url import default_store_path

pytestmark = pytest.mark.one_python

WEBHOOK = "https://hooks.slack.com/services/T00/B00/hunter2"
CHANNELS = "apprise, console, email-postmark, email-resend, email-smtp, log, slack, webhook"
USE_ONE = f"use one of {CHANNELS}, or install the plugin that provides it"
CRON = "give minute, hour, day, month and weekday in quotes, such as '0 6 * * *'"
SPAN = "write a number and a unit, such as 45s, 30m, 2h or 90d"
JOB_AND_COMMAND = (
    "write cronguard run JOB -- COMMAND, such as cronguard run nightly -- ./nightly.sh"
)
LEFT_OUT = "is left out, and the command runs"


class Mistake(NamedTuple):
    typed: str
    """What follows ``cronguard``, as in a shell."""
    said: str
    """The line without ``cronguard:`` in front; ``{folder}`` is where it was typed, ``{default}``
    the file that keeps runs where no store is set."""
    code: int = 2
    settings: str = ""
    """The text of cronguard.toml."""
    environ: tuple[tuple[str, str], ...] = ()
    kept: str | None = None
    """The message that is recorded and sent."""


def each(table):
    return pytest.mark.parametrize("mistake", [pytest.param(row, id=what) for what, row in table])


TYPED = [
    (
        "a mistyped command",
        Mistake(
            "statsu", "there is no command 'statsu' (did you mean 'status'?); see cronguard --help"
        ),
    ),
    (
        "a mistyped option",
        Mistake(
            "status --jason",
            "there is no option '--jason' (did you mean '--json'?); see cronguard status --help",
        ),
    ),
    (
        "a mistyped job",
        Mistake(
            "status nightli",
            "there is no job 'nightli' (did you mean 'nightly'?): see cronguard status",
            code=1,
        ),
    ),
    (
        "a job that there is not",
        Mistake("history invoices", "there is no job 'invoices': see cronguard status", code=1),
    ),
    (
        "no job",
        Mistake("history", "missing argument 'JOB'; see cronguard history --help"),
    ),
    (
        "a word too many",
        Mistake("test-alert slack", "too many words (slack); see cronguard test-alert --help"),
    ),
    (
        "a mistyped time",
        Mistake(
            "history nightly --since yesterday",
            "invalid value for '--since': 'yesterday' is neither a duration such as 2h or 7d, nor"
            " a date such as 2026-11-24 or 2026-11-24T08:00; see cronguard history --help",
        ),
    ),
    (
        "a mistyped status",
        Mistake(
            "history nightly --status failed",
            "invalid value for '--status': 'failed' is not one of 'success', 'failure', 'crashed',"
            " 'cancelled', 'skipped', 'running'; see cronguard history --help",
        ),
    ),
    (
        "prune without a unit",
        Mistake(
            "prune --keep 30",
            "invalid value for '--keep': 30 has no unit: write 30s, 30m, 30h or 30d;"
            " see cronguard prune --help",
        ),
    ),
    (
        "prune of nearly everything",
        Mistake(
            "prune --keep 30s",
            "--keep 30 seconds would delete nearly everything: add --yes if it is meant;"
            " see cronguard prune --help",
        ),
    ),
    (
        "prune without a time",
        Mistake(
            "prune",
            "missing option '--keep' (Keep runs that ended within this time: 90d, 12w);"
            " see cronguard prune --help",
        ),
    ),
    (
        "snooze without a unit",
        Mistake(
            "snooze nightly --for 2",
            "invalid value for '--for': 2 has no unit: write 2s, 2m, 2h or 2d;"
            " see cronguard snooze --help",
        ),
    ),
    (
        "snooze without a time",
        Mistake(
            "snooze nightly",
            "say how long: give one of --for 2h, --until TIME and --off;"
            " see cronguard snooze --help",
        ),
    ),
    (
        "snooze until a word",
        Mistake(
            "snooze nightly --until tomorrow",
            "invalid value for '--until': 'tomorrow' is not a date and time such as"
            " 2026-11-24T08:00; see cronguard snooze --help",
        ),
    ),
    (
        "snooze of a mistyped job",
        Mistake(
            "snooze nightli --for 2h",
            "there is no job 'nightli' (did you mean 'nightly'?): see cronguard status",
            code=1,
        ),
    ),
    (
        "run without dashes",
        Mistake(
            "run nightly touch ran",
            f"the command must stand after two dashes: {JOB_AND_COMMAND}; see cronguard run --help",
        ),
    ),
    (
        "run without a command",
        Mistake(
            "run nightly --",
            f"no command follows the two dashes: {JOB_AND_COMMAND}; see cronguard run --help",
        ),
    ),
    (
        "a test alert to a mistyped channel",
        Mistake(
            "test-alert --channel slak",
            f"there is no channel 'slak' (did you mean 'slack'?): {USE_ONE}",
        ),
    ),
    (
        "a channel without its option",
        Mistake(
            "test-alert --channel slack",
            "channel slack has no webhook_url, so it cannot be used:"
            " set CRONGUARD_SLACK_WEBHOOK_URL",
        ),
    ),
    (
        "a report into a folder that there is not",
        Mistake(
            "report -o no/such/jobs.html",
            "no/such/jobs.html cannot be written (no such file or directory):"
            " name another file with -o",
            code=1,
        ),
    ),
    (
        "a vault that the store has not",
        Mistake(
            "vault list",
            "the store in the settings is {folder}/runs.db, which has no vault:"
            " set CRONGUARD_STORE to supabase, or keep secrets in the environment",
        ),
    ),
    (
        "a mistyped database",
        Mistake(
            "init sqllite",
            "there is no command 'sqllite' (did you mean 'sqlite'?); see cronguard init --help",
        ),
    ),
]

SETTINGS = [
    (
        "a file that is not TOML",
        Mistake(
            "status",
            "{folder}/cronguard.toml is not valid TOML at line 1, column 9, so its settings are"
            " not used: correct it",
            settings="store = \n",
        ),
    ),
    (
        "an unknown key",
        Mistake(
            "status",
            "cronguard.toml: unknown key 'chanels' (did you mean 'channels'?)",
            settings='chanels = ["slack"]',
        ),
    ),
    (
        "the prefix of pyproject.toml",
        Mistake(
            "status",
            "cronguard.toml: unknown key 'tool': the keys of this file stand without"
            " [tool.cronguard]",
            settings='[tool.cronguard]\nchannels = ["slack"]',
        ),
    ),
    (
        "an unknown option of a job",
        Mistake(
            "status",
            "cronguard.toml [job.nightly]: unknown option 'schdule' (did you mean 'schedule'?)",
            settings='[job.nightly]\nschdule = "0 6 * * *"',
        ),
    ),
    (
        "a secret in the file",
        Mistake(
            "status",
            "cronguard.toml [channel.slack]: webhook_url holds a secret in plain text: set"
            ' CRONGUARD_SLACK_WEBHOOK_URL instead, or write webhook_url = "env:NAME" or'
            ' "vault:NAME"',
            settings=f'[channel.slack]\nwebhook_url = "{WEBHOOK}"',
        ),
    ),
    (
        "a secret behind env:",
        Mistake(
            "status",
            "cronguard.toml [channel.slack]: webhook_url begins with env: but no name of a secret"
            " follows: write env:NAME, with the name of the environment variable that holds it",
            settings=f'[channel.slack]\nwebhook_url = "env:{WEBHOOK}"',
        ),
    ),
    (
        "a secret behind vault:",
        Mistake(
            "status",
            "cronguard.toml [channel.resend]: api_key begins with vault: but no name of a secret"
            " follows: write vault:NAME, with a name that cronguard vault list shows",
            settings='[channel.resend]\ntype = "email-resend"\nfrom = "a@example.org"\n'
            'to = "b@example.org"\napi_key = "vault:re_hunter2_9abcdefghij"',
        ),
    ),
    (
        "a password in the store's address",
        Mistake(
            "status",
            "cronguard.toml: store holds a password in plain text: put the address into an"
            ' environment variable and write store = "env:DATABASE_URL"; until then that of'
            " environment CRONGUARD_STORE is used",
            settings='store = "postgresql://jobs:hunter2@db.internal/jobs"',
        ),
    ),
    (
        "a mistyped channel",
        Mistake(
            "test-alert",
            "cronguard.toml channels: there is no channel 'slak' (did you mean 'slack'?):"
            f" {USE_ONE}",
            settings='channels = ["slak"]',
        ),
    ),
    (
        "a job that names a mistyped channel",
        Mistake(
            "status",
            f"job nightly: there is no channel 'slak' (did you mean 'slack'?): {USE_ONE}",
            settings='[job.nightly]\nchannels = ["slak"]',
        ),
    ),
    (
        "a channel of one's own without a type",
        Mistake(
            "status",
            f"there is no channel 'oncall', and [channel.oncall] names no type: {USE_ONE}",
            settings='[channel.oncall]\nurl = "env:ONCALL_URL"',
        ),
    ),
    (
        "a schedule that is none",
        Mistake(
            "status",
            "cronguard.toml [job.nightly]: schedule 'every day' is not a cron expression that ever"
            f" comes due: {CRON}",
            settings='[job.nightly]\nschedule = "every day"',
        ),
    ),
    (
        "an address of a store that is none",
        Mistake(
            "status",
            "environment CRONGUARD_STORE: store is no address that cronguard can open: use"
            " sqlite:///relative.db, sqlite:////absolute.db, supabase, postgresql://… or env:NAME;"
            " until then runs are kept in {default}",
            environ=(("CRONGUARD_STORE", "runs.db"),),
        ),
    ),
    (
        "a password that is not encoded",
        Mistake(
            "status",
            "environment CRONGUARD_STORE: store is an address that cannot be taken apart into user,"
            " password, host, port and name, so nothing of it is shown: percent-encode what is"
            " special in the password (@ as %40, / as %2F, : as %3A, # as %23, ? as %3F, % as %25);"
            " until then runs are kept in {default}",
            environ=(("CRONGUARD_STORE", "postgresql://jobs:hunter2/x@db.internal/jobs"),),
        ),
    ),
    (
        "Supabase without its address",
        Mistake(
            "status",
            "the Supabase store has no address: set SUPABASE_URL to https://PROJECT.supabase.co",
            environ=(("CRONGUARD_STORE", "supabase"),),
        ),
    ),
    (
        "a settings file that there is not",
        Mistake(
            "status",
            "CRONGUARD_CONFIG names {folder}/jobs.toml, which does not exist: correct or unset it",
            environ=(("CRONGUARD_CONFIG", "{folder}/jobs.toml"),),
        ),
    ),
    (
        "a folder where the store's file should be",
        Mistake(
            "status",
            "{folder} cannot be opened, since there is a folder in its place: move that folder"
            " away, or set CRONGUARD_STORE to another file",
            code=1,
            environ=(("CRONGUARD_STORE", "sqlite:///{folder}"),),
        ),
    ),
]


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


def content(folder):
    """Every file below a folder, with what is in it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@each(TYPED + SETTINGS)
def test_a_mistake_is_one_line(here, mistake):
    """It says what, why and what to do; nothing else is printed, and nothing is written."""
    here.record("nightly", "success")
    if mistake.settings:
        (here.folder / "cronguard.toml").write_text(mistake.settings, encoding="utf-8")
    for name, value in mistake.environ:
        here.setenv(name, value.format(folder=here.folder))
    before = content(here.folder)
    done = here(*shlex.split(mistake.typed))
    default = default_store_path(os.environ)
    said = mistake.said.format(folder=here.folder, default=default)
    assert (done.stderr, done.stdout) == (f"cronguard: {said}\n", "")
    assert done.returncode == mistake.code
    assert content(here.folder) == before
    assert "hunter2" not in done.stderr


RUN = [
    (
        "a mistyped option",
        Mistake(
            "run nightly --treshold 3 -- touch ran",
            "there is no option '--treshold' (did you mean '--threshold'?): it"
            f" {LEFT_OUT}; see cronguard run --help",
        ),
    ),
    (
        "threshold 0",
        Mistake(
            "run nightly --threshold 0 -- touch ran",
            "threshold is 0, which counts no failures: give a whole number from 1 to 1,000,000;"
            f" --threshold {LEFT_OUT}",
        ),
    ),
    (
        "a cron expression of four fields",
        Mistake(
            "run nightly --schedule '15 2 * *' -- touch ran",
            "schedule '15 2 * *' is not a cron expression that ever comes due:"
            f" {CRON}; --schedule {LEFT_OUT}",
        ),
    ),
    (
        "a mistyped time zone",
        Mistake(
            "run nightly --timezone Europe/Olso -- touch ran",
            "timezone 'Europe/Olso' is not known (did you mean 'Europe/Oslo'?): give the name of a"
            f" time zone, such as 'Europe/Oslo'; --timezone {LEFT_OUT}",
        ),
    ),
    (
        "a mistyped time zone of a schedule",
        Mistake(
            "run nightly --timezone Europe/Olso --schedule '15 2 * * *' -- touch ran",
            "timezone 'Europe/Olso' is not known (did you mean 'Europe/Oslo'?): give the name of a"
            " time zone, such as 'Europe/Oslo'; --timezone and --schedule are left out, and the"
            " command runs",
        ),
    ),
    (
        "a mistyped --timezone of a schedule",
        Mistake(
            "run nightly --schedule '15 2 * * *' --timezoen Europe/Oslo -- touch ran",
            "there is no option '--timezoen' (did you mean '--timezone'?): it and --schedule are"
            " left out, and the command runs; see cronguard run --help",
        ),
    ),
    (
        "a host's time zone without a name",
        Mistake(
            "run nightly --schedule '15 2 * * *' -- touch ran",
            "the time zone of this host has no name that can be found, so --schedule is left out,"
            " and the command runs: name it, as in --timezone Europe/Oslo",
            environ=(("TZ", "CET-1CEST,M3.5.0,M10.5.0/3"),),
        ),
    ),
    (
        "a mistyped duration",
        Mistake(
            "run nightly --max-runtime '5 minuts' -- touch ran",
            f"max_runtime '5 minuts' is not a duration: {SPAN}, or off; --max-runtime {LEFT_OUT}",
        ),
    ),
    (
        "a runbook that is http",
        Mistake(
            "run nightly --runbook http://wiki.example.org/nightly -- touch ran",
            "runbook cannot be shown in alerts: give a link that begins with https:// and holds no"
            f" user, password or key; --runbook {LEFT_OUT}",
        ),
    ),
    (
        "a mistyped channel",
        Mistake(
            "run nightly --channel slak -- touch ran",
            f"nightly: channels: there is no channel 'slak' (did you mean 'slack'?): {USE_ONE}",
        ),
    ),
    (
        "a job with a space",
        Mistake(
            "run 'nightly export' -- touch ran",
            "job name 'nightly export' cannot be used, since it appears in alerts as an identifier:"
            " use letters, digits and . _ : - only, beginning with a letter or a digit;"
            " the command runs, but is not recorded",
        ),
    ),
    (
        "no job",
        Mistake(
            "run -- touch ran",
            "no job name stands before the two dashes, as in cronguard run nightly -- COMMAND:"
            " the command runs, but is not recorded",
        ),
    ),
]


@each(RUN)
def test_a_mistake_before_the_dashes_keeps_no_command_from_running(tmp_path, mistake):
    """One line, the command's own exit code, and the run is recorded if it has a name."""
    cli = Cli(tmp_path)
    done = cli(*shlex.split(mistake.typed), env=dict(mistake.environ))
    assert (done.stderr, done.stdout) == (f"cronguard: {mistake.said}\n", "")
    assert done.returncode == 0
    assert (tmp_path / "ran").exists()
    recorded = ["success"] if "not recorded" not in mistake.said else []
    assert [run.status for run in (cli.runs("nightly") if recorded else [])] == recorded


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("runs.db", "environment CRONGUARD_STORE: store is no address that cronguard can open"),
        ("env:NOWHERE", "store is env:NOWHERE, but that variable is empty"),
        ("nonsense://x", "environment CRONGUARD_STORE: store scheme 'nonsense' is not known"),
    ],
)
def test_a_mistaken_store_says_where_runs_are_kept(tmp_path, address, said):
    """One line, with the file that keeps the run until the store is put right."""
    cli = Cli(tmp_path)
    cli.environ["CRONGUARD_STORE"] = address
    done = cli("run", "nightly", "--", "touch", "ran")
    (line,) = done.stderr.splitlines()
    kept = tmp_path / ".local" / "state" / "cronguard" / "cronguard.db"
    assert line.startswith(f"cronguard: settings: {said}")
    assert line.endswith(f"; until then runs are kept in {kept}")
    assert (tmp_path / "ran").exists()
    assert kept.exists()


COMMANDS = [
    (
        "not found",
        Mistake(
            "run nightly -- nosuch",
            "cannot run 'nosuch': it was not found; give its full path, or set PATH",
            code=127,
            kept="command not found: nosuch",
        ),
    ),
    (
        "not found at a path",
        Mistake(
            "run nightly -- /home/mary/backup.sh --password=hunter2",
            "cannot run '/home/mary/backup.sh': it was not found; give its full path, or set PATH",
            code=127,
            kept="command not found: backup.sh",
        ),
    ),
    (
        "a key in the program's place",
        Mistake(
            "run nightly -- sk_live_4242424242424242",
            "cannot run 'sk_live_4242424242424242': it was not found; give its full path, or set"
            " PATH",
            code=127,
            kept="command not found: ‹…›",
        ),
    ),
    (
        "an interpreter that is not there",
        Mistake(
            "run nightly -- ./job.sh",
            "cannot run './job.sh': the interpreter it names is not there; correct its first line",
            code=127,
            kept="the interpreter that the first line names is not there: job.sh",
        ),
    ),
    (
        "a line for the shell",
        Mistake(
            "run nightly -- 'echo hi | cat'",
            "cannot run 'echo hi | cat': it was not found; leave out the quotes around it;"
            " a line for the shell is written sh -c 'LINE'",
            code=127,
            kept="command not found: its whole line stands in quotes",
        ),
    ),
    (
        "a word of the shell",
        Mistake(
            "run nightly -- cd /tmp",
            "cannot run 'cd': it was not found; it is the shell's own;"
            " a line for the shell is written sh -c 'LINE'",
            code=127,
            kept="command not found: cd",
        ),
    ),
    (
        "not executable",
        Mistake(
            "run nightly -- ./cronguard.toml",
            "cannot run './cronguard.toml': it is not an executable file;"
            " make it one with chmod +x",
            code=126,
            settings="\n",
            kept="not an executable file: cronguard.toml",
        ),
    ),
    (
        "a folder",
        Mistake(
            "run nightly -- /tmp",
            "cannot run '/tmp': it is a folder; name the file in it that is to run",
            code=126,
            kept="a folder, not a program: tmp",
        ),
    ),
]


@each(COMMANDS)
def test_a_command_that_cannot_start_is_one_line(tmp_path, mistake):
    """A shell's exit code, and a failure on record that says why, with no more than a name."""
    cli = Cli(tmp_path)
    (tmp_path / "job.sh").write_text("#!/no/such/sh\n", encoding="utf-8")
    (tmp_path / "job.sh").chmod(0o755)
    if mistake.settings:
        (tmp_path / "cronguard.toml").write_text(mistake.settings, encoding="utf-8")
    done = cli(*shlex.split(mistake.typed))
    assert (done.stderr, done.stdout) == (f"cronguard: {mistake.said}\n", "")
    assert done.returncode == mistake.code
    assert cli.last("nightly") == ("failure", str(mistake.code))
    assert cli.runs("nightly")[0].failure.error_message == mistake.kept
    cli.environ["CRONGUARD_REDACT"] = "strict"
    cli(*shlex.split(mistake.typed))
    assert cli.runs("nightly")[0].failure.error_message is None


ADDRESSES = [
    (
        "http instead of https",
        "http://hooks.example.org/x",
        "insecure_url: use https; plain http is for this machine only",
    ),
    (
        "an address without https://",
        "hooks.example.org/x",
        "bad_url: the address is not of the form https://host/path",
    ),
    (
        "a variable that is not set",
        "env:SLACK_URL",
        "secret_missing: env:SLACK_URL is not set: set the variable SLACK_URL where this runs",
    ),
]


@pytest.mark.parametrize(("what", "address", "said"), ADDRESSES, ids=[row[0] for row in ADDRESSES])
def test_a_test_alert_says_why_it_was_not_sent(here, what, address, said):
    """A line with the reason, and exit code 1."""
    here.setenv("CRONGUARD_SLACK_WEBHOOK_URL", address)
    done = here("test-alert")
    assert re.sub(r"\d+\.\d\d s", "N s", done.stdout[2:]) == f"slack  not sent after N s: {said}\n"
    assert (done.returncode, done.stderr) == (1, ""), what


def test_a_store_that_may_not_be_read(tmp_path):
    """Another user's file: one line that names it, and the file stays as it is."""
    cli = Cli(tmp_path)
    cli("run", "nightly", "--", "true")
    before = cli.path.read_bytes()
    cli.path.chmod(0)
    done = cli("status", wrapper=respect_modes())
    cli.path.chmod(0o600)
    assert done.stderr == (
        f"cronguard: {cli.path} cannot be opened, since this user may not read and write it:"
        " give it and its folder to this user, or set CRONGUARD_STORE to another file\n"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert cli.path.read_bytes() == before


@pytest.mark.parametrize(
    ("typed", "extra", "said"),
    [
        ("report -o jobs.html", "jinja2", "the report needs Jinja2, which is not installed:"),
        ("init postgres", "psycopg", "store 'postgres' needs the module 'psycopg':"),
        ("status", "psycopg", "store 'postgres' needs the module 'psycopg':"),
        ("check", "psycopg", "store 'postgres' needs the module 'psycopg':"),
        ("vault list", "psycopg", "store 'postgres' needs the module 'psycopg':"),
        ("deliver", "psycopg", "store 'postgres' needs the module 'psycopg':"),
    ],
)
def test_an_extra_that_is_missing(tmp_path, typed, extra, said):
    """One line with the command that installs it, and 2 by every command; nothing is made."""
    cli = Cli(tmp_path)
    if extra == "psycopg":
        cli.environ |= {"CRONGUARD_STORE": "env:DATABASE_URL", "DATABASE_URL": "postgresql://x/y"}
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / f"{extra}.py").write_text(
        f"raise ModuleNotFoundError('No module', name={extra!r})"
    )
    cli.environ["PYTHONPATH"] = f"{tmp_path / 'without'}:{cli.environ.get('PYTHONPATH', '')}"
    done = cli(*typed.split())
    name = "report" if extra == "jinja2" else "postgres"
    install = f"in a checkout of cronguard, run python -m pip install '.[{name}]'"
    assert done.stderr == f"cronguard: {said} {install}\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "jobs.html").exists()


def generator():
    yield


def job():
    """A function like any other."""


CODE = [
    (
        "a name without its keyword",
        lambda: cron_guarded("nightly"),
        (
            'cron_guarded guards a function, not str: write @cron_guarded(job="name"),'
            " with the name as a keyword"
        ),
    ),
    (
        "a lambda without a job",
        lambda: cron_guarded(lambda: None),
        (
            "this callable has no name of its own to call the job by: pass job=, for example"
            ' @cron_guarded(job="nightly_export")'
        ),
    ),
    (
        "a generator",
        lambda: cron_guarded(generator),
        (
            "generator is a generator function: calling it does no work yet, so it would be"
            " recorded too early; guard the function that consumes it"
        ),
    ),
    (
        "threshold 0",
        lambda: cron_guarded(job, threshold=0),
        "threshold is 0, which counts no failures: give a whole number from 1 to 1,000,000",
    ),
    (
        "an option that there is not",
        lambda: cron_guarded(job, tresholds=3),
        "unknown option 'tresholds' (did you mean 'threshold'?)",
    ),
    (
        "a name as an exception",
        lambda: cron_guarded(job, ignore="ValueError"),
        "ignore holds 'ValueError': give exception classes, as ignore=(Skip,)",
    ),
    (
        "a wrong way to overlap",
        lambda: cron_guarded(job, overlap="wait"),
        "overlap is 'wait': give 'skip', 'raise' or 'allow'",
    ),
    (
        "guard without a name",
        lambda: guard(),
        'guard needs a name for the job: write guard("nightly_export")',
    ),
    (
        "guard as a decorator",
        lambda: guard("nightly")(job),
        (
            "guard is for a block, as in `with guard(...)`, and decorates nothing:"
            " put @cron_guarded(job=...) on a function"
        ),
    ),
    (
        "a mistyped setting",
        lambda: configure(stor="supabase"),
        "configure(): unknown keyword 'stor' (did you mean 'store'?)",
    ),
]


@pytest.mark.parametrize(("mistaken", "said"), [pytest.param(*row[1:], id=row[0]) for row in CODE])
def test_a_mistake_in_code_is_one_line(mistaken, said):
    """It is raised where it was made, not when the job runs."""
    with pytest.raises((ConfigError, TypeError)) as caught:
        mistaken()
    assert str(caught.value) == said


def test_a_decorator_above_a_celery_task():
    """It would guard nothing that a worker runs, and says so."""
    celery = pytest.importorskip("celery")
    with pytest.raises(ConfigError) as caught:
        cron_guarded(celery.Celery("app").task(job))
    assert str(caught.value) == (
        "cron_guarded stands above a Celery task, where it would guard nothing that a worker runs:"
        " put it below @app.task"
    )
