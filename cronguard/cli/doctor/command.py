"""``cronguard doctor``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cronguard.cli.arguments import json_option
from cronguard.cli.output.layout import table
from cronguard.cli.output.lines import emit, mark, plural, say
from cronguard.cli.output.times import stamp
from cronguard.core.clock import rfc3339


@click.command()
@click.option("--as-cron", is_flag=True, help="Look with the environment that cron gives a job.")
@json_option
def command(*, as_cron: bool, as_json: bool) -> int:
    """Check settings, store and channels.

    Says which settings file is used and where each value comes from, whether the store can be read
    and written, what is expected of each job and who stated it, whether channels have what they
    need, and which alerts have not gone out. Changes nothing and sends nothing. Exits 1 if
    something is wrong (✗); warnings (!) do not count.

    With --as-cron it looks as a job of the user's crontab would: with HOME, LOGNAME, SHELL, a short
    PATH and what the crontab sets, in the home folder; and it says which variables of this shell's
    are not there.

    \b
    Examples:
      cronguard doctor
      cronguard doctor --as-cron
      cronguard doctor --json | jq '.checks[] | select(.status != "ok")'

    \b
    --json prints cronguard.doctor/2:
      {"schema", "ok", "checks": [{"check", "status": "ok" | "warning" | "error", "message"}],
       "settings": [{"key", "value", "source"}],
       "expected": [{"job", "key", "value", "source", "since"}]}
    """
    from cronguard.cli.doctor.checks import examine

    findings = examine(as_cron=as_cron)
    wrong = sum(check.status == "error" for check in findings.checks)
    if as_json:
        emit(
            "doctor/2",
            ok=not wrong,
            checks=[check._asdict() for check in findings.checks],
            settings=[value._asdict() for value in findings.values],
            expected=[
                {**each._asdict(), "since": rfc3339(each.since)} for each in findings.expected
            ],
        )
        return 1 if wrong else 0
    for check in findings.checks:
        say(f"{mark(check.status)} {check.check}: {check.message}")
    say()
    table(("SETTING", "VALUE", "FROM"), findings.values)
    say()
    if findings.expected:
        now = datetime.now(UTC)
        table(
            ("JOB", "EXPECTED", "VALUE", "STATED BY", "SINCE (UTC)"),
            [(*each[:4], stamp(each.since, now, brief=True)) for each in findings.expected],
        )
        say()
    warnings = sum(check.status == "warning" for check in findings.checks)
    say(f"{plural(wrong, 'problem')}, {plural(warnings, 'warning')}.")
    return 1 if wrong else 0
