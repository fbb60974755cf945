"""``cronguard doctor``."""

from __future__ import annotations

import click

from cronguard.cli.arguments import json_option
from cronguard.cli.output.lines import emit, mark, plural, say
from cronguard.cli.output.table import table


@click.command()
@json_option
def command(*, as_json: bool) -> int:
    """Check settings, store and channels.

    Says which settings file is used and where each value comes from, whether the store can be read
    and written, whether channels have what they need, and which alerts have not gone out. Changes
    nothing and sends nothing. Exits 1 if something is wrong (✗); warnings (!) do not count.

    \b
    Examples:
      cronguard doctor
      cronguard doctor --json | jq '.checks[] | select(.status != "ok")'

    \b
    --json prints cronguard.doctor/1:
      {"schema", "ok", "checks": [{"check", "status": "ok" | "warning" | "error", "message"}],
       "settings": [{"key", "value", "source"}]}
    """
    from cronguard.cli.doctor.checks import examine

    findings = examine()
    wrong = sum(check.status == "error" for check in findings.checks)
    if as_json:
        emit(
            "doctor/1",
            ok=not wrong,
            checks=[check._asdict() for check in findings.checks],
            settings=[value._asdict() for value in findings.values],
        )
        return 1 if wrong else 0
    for check in findings.checks:
        say(f"{mark(check.status)} {check.check}: {check.message}")
    say()
    table(("SETTING", "VALUE", "FROM"), findings.values)
    say()
    warnings = sum(check.status == "warning" for check in findings.checks)
    say(f"{plural(wrong, 'problem')}, {plural(warnings, 'warning')}.")
    return 1 if wrong else 0
