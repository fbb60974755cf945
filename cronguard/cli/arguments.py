"""Arguments and options that several commands take: jobs by name, how much, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cronguard.cli.output.lines import CommandError
from cronguard.cli.output.times import to_since
from cronguard.core.errors import CronguardError

if TYPE_CHECKING:
    from cronguard.core.health import Health
    from cronguard.core.model import JobStatus

F = TypeVar("F", bound=Callable[..., Any])
Job = TypeVar("Job", "JobStatus", "Health")


def complete_jobs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """Return names of jobs, for the shell; none when they cannot be had."""
    from cronguard.cli.opening import jobs_of, load_settings, open_store

    try:
        settings = load_settings().settings
        store = open_store(settings)
        known = {*settings.jobs, *(status.job for status in jobs_of(store))}
        store.close()
    except CronguardError:
        return []
    return sorted(name for name in known if name.startswith(incomplete))


def complete_channels(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """Return names of channels, for the shell."""
    from cronguard.cli.opening import load_settings

    names = (channel.name for channel in load_settings().settings.channels)
    return sorted(name for name in names if name.startswith(incomplete))


def job_argument(*, many: bool = False, required: bool = True) -> Callable[[F], F]:
    """Return the ``JOB`` argument of a command, completed by the shell."""
    return click.argument(
        "jobs" if many else "job",
        metavar="[JOB]..." if many else "JOB",
        nargs=-1 if many else 1,
        required=required and not many,
        shell_complete=complete_jobs,
    )


def up_to(most: int) -> Callable[[click.Context, click.Parameter, int], int]:
    """Return the callback of an option that takes a whole number from 1 to ``most``."""

    def check(_ctx: click.Context, _param: click.Parameter, value: int) -> int:
        if not 1 <= value <= most:
            raise click.BadParameter(f"{value} is not a whole number from 1 to {most:,}")
        return value

    return check


def limit_option(what: str) -> Callable[[F], F]:
    """Return the ``--limit`` of a command that lists ``what``, newest first."""
    return click.option(
        "--limit",
        "-n",
        type=int,
        callback=up_to(100_000),
        default=20,
        metavar="N",
        help=f"Show at most this many {what}.  [20]",
    )


def since_option(only: str) -> Callable[[F], F]:
    """Return the ``--since`` of a command; ``only`` says of what."""
    return click.option(
        "--since",
        callback=to_since,
        metavar="WHEN",
        help=f"{only}: 2h, 7d, 2026-11-24, 2026-11-24T08:00 (of the job's time zone).",
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Print errors only: cron mails every line."
)


def find_job(known: Sequence[Job], name: str) -> Job:
    """Return the job of that name. Raises `CommandError` with the nearest name if there is none."""
    for each in known:
        if each.job == name:
            return each
    raise CommandError(no_such_job(name, [each.job for each in known]))


def is_utf8(name: str) -> bool:
    """Tell whether a store can be asked for the name: bytes of a terminal may be no text at all."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def timezone_of(health: Health | None) -> str:
    """Return the name of a job's time zone; UTC for a job that is not known, or has no schedule."""
    plan = health.expected.plan if health is not None else None
    return plan.timezone if plan else "UTC"


def no_such_job(name: str, known: Iterable[str]) -> str:
    """Return a line for a job that is not known."""
    from cronguard.core.text import show, suggest

    names = list(known)
    hint = "see cronguard status" if names else "no job has run yet; see cronguard run --help"
    return f"there is no job {show(name)}{suggest(name, names)}: {hint}"
