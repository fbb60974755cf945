"""The commands: ``assignment-reminder``, or ``python examples/assignment_reminder``."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from reminders.repository import DueRule, RepositoryError, SetupError, open_repository

STORE = click.option(
    "--store",
    envvar="REMINDER_STORE",
    required=True,
    show_envvar=True,
    metavar="supabase|sqlite:///FILE",
    help="Where assignments are.",
)


class Commands(click.Group):
    """A group whose expected errors are one line each."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; say in one line what is wrong."""
        try:
            return super().invoke(ctx)
        except SetupError as error:
            raise click.ClickException(str(error)) from error
        except RepositoryError as error:
            why = error.__cause__
            raise click.ClickException(f"{error} ({type(why).__name__})") from error
        except subprocess.CalledProcessError as error:
            ctx.exit(error.returncode)  # it has said on standard error what is wrong


@click.group(cls=Commands, invoke_without_command=True)
@click.option(
    "--store",
    type=click.Choice(["sqlite", "supabase"]),
    default="sqlite",
    help="Where the seven nights are told.",
)
@click.pass_context
def main(ctx: click.Context, store: str) -> None:
    """Remind peer mentors who have not been in touch.

    Without a command: tell seven nights of the job, three of them with a broken gateway.
    """
    if ctx.invoked_subcommand is None:
        from reminders.trial.seven_nights import tell

        ctx.exit(tell("supabase" if store == "supabase" else None))


@main.command()
@STORE
@click.option(
    "--gateway",
    envvar="REMINDER_GATEWAY",
    required=True,
    show_envvar=True,
    metavar="URL",
    help="The notification gateway.",
)
@click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Another day than today in Oslo.",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=0.1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long reminders stay reserved for a run that may have died.",
)
@click.option("--quiet", is_flag=True, help="Say nothing of what cronguard records anyway.")
def run(store: str, gateway: str, today: datetime | None, lease: float, quiet: bool) -> None:
    """Send what is due: the nightly job, guarded by cronguard.

    Exit code 1 if not everything could be sent, 0 if another run is going on.
    """
    from reminders.gateway import AddressError, GatewayError
    from reminders.job import REMIND_AFTER, due_today, send_reminders

    if store == "supabase":
        os.environ.setdefault("CRONGUARD_STORE", "supabase")
    rule = DueRule(today.date(), REMIND_AFTER) if today else due_today()
    shown = sys.stderr if sys.stderr.isatty() and not quiet else io.StringIO()
    failure: str | None = None
    sent: int | None = None
    with click.progressbar(length=1, label="Reminders", file=shown) as bar:

        def start(due: int) -> None:
            bar.length = due
            bar.render_progress()

        def wait(count: int, until: datetime) -> None:
            line = f"{count:,} are reserved by another run until {until:%H:%M:%S}; waiting"
            if shown is not sys.stderr:
                click.echo(f"Reminders: {line}", err=True)
                return
            bar.label, bar.length, bar.finished = f"Reminders: {line}", bar.pos + count, False
            bar.render_progress()

        def proceed(count: int) -> None:
            bar.label = "Reminders"
            bar.update(count)

        try:
            sent = send_reminders(
                store,
                gateway,
                rule,
                lease=timedelta(seconds=lease),
                started=start,
                progress=proceed,
                waiting=wait,
            )
        except AddressError as error:
            failure = str(error)
        except GatewayError as error:
            # cronguard has recorded it; a traceback would put a name into cron's mail.
            failure = f"the gateway does not take reminders ({_why(error)}); the rest stays due"
        except RepositoryError as error:
            failure = f"{error} ({_why(error)})" if error.__cause__ else str(error)
    if failure is None and sent is not None and not quiet:
        click.echo(f"{sent:,} reminders sent.")
    if failure is not None:
        if quiet:
            sys.exit(1)
        raise click.ClickException(failure)


@main.command()
@STORE
def init(store: str) -> None:
    """Create the tables: in the file, or as a migration for the Supabase CLI."""
    if store != "supabase":
        from reminders.sqlite import SQLiteRepository, database_path

        with SQLiteRepository.create(store) as repository:
            count = repository.count_assignments()
        click.echo(f"{database_path(store)} is ready; {count:,} assignments.")
        return
    from importlib.resources import files  # slow to import, and the job needs it not

    folder = Path("supabase", "migrations")
    text = files("reminders").joinpath("sql/supabase.sql").read_text("utf-8")
    for path in sorted(folder.glob("*_assignment_reminder.sql")):
        if path.read_text("utf-8") == text:
            click.echo(f"{path} holds it already. Next: supabase db push --remote")
            return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_next_version(folder)}_assignment_reminder.sql"
    path.write_text(text, "utf-8")
    click.echo(f"Wrote {path}. Next: supabase db push --remote")


@main.command()
@STORE
@click.option("--mend", is_flag=True, help="Put them right.")
def audit(store: str, mend: bool) -> None:
    """List assignments whose date disagrees with their activities.

    Exit code 1 if there are any that were not put right.
    """
    with open_repository(store) as repository:
        found = repository.disagreements()
        for each in found:
            click.echo(
                f"assignment {each.assignment_id}: last contact is {each.last_contact_date},"
                f" activities say {each.expected_date}"
            )
        mended = repository.mend() if mend and found else 0
    if not found:
        click.echo("All dates agree with the activities.")
    elif mend:
        click.echo(f"{mended:,} put right.")
    else:
        click.echo(f"{len(found):,} disagree; --mend puts them right.", err=True)
        sys.exit(1)


@main.command()
@STORE
@click.option(
    "--admin-token",
    "admins",
    multiple=True,
    required=True,
    metavar="env:NAME",
    help="A token that may correct. Repeatable.",
)
@click.option(
    "--user-token",
    "users",
    multiple=True,
    metavar="env:NAME",
    help="A token that may only look. Repeatable.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def admin(
    store: str, admins: tuple[str, ...], users: tuple[str, ...], host: str, port: int
) -> None:
    """Serve manual corrections over HTTP, for SQLite.

    On Supabase the project serves them itself: POST /rest/v1/rpc/correct_last_contact.
    """
    if store == "supabase":
        raise SetupError("on Supabase the project itself serves corrections; see the README")
    try:
        from reminders.admin import serve
    except ImportError as error:
        raise SetupError(
            f"{error.name} is missing; install the extra: python -m pip install"
            " './examples/assignment_reminder[admin]'"
        ) from error
    serve(store, admins=admins, users=users, host=host, port=port)


@main.command()
@click.option(
    "--store",
    type=click.Choice(["sqlite", "supabase"]),
    default="sqlite",
    show_default=True,
    help="A new SQLite file, or the Supabase project, to which assignments are added.",
)
@click.option(
    "--assignments",
    "counts",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1_000, 10_000, 100_000),
    show_default=True,
    help="How many. Repeatable.",
)
def load_test(store: str, counts: tuple[int, ...]) -> None:
    """Time the worst night: every assignment is due."""
    from reminders.trial.load import measure, slope

    click.echo("assignments     seconds  a second  memory, MB")
    measured = []
    for count in counts:
        measured.append(measure(count, "supabase" if store == "supabase" else None))
        each = measured[-1]
        rate = each.assignments / each.seconds
        click.echo(
            f"{each.assignments:11,} {each.seconds:11.1f} {rate:9,.0f} {each.megabytes:11.1f}"
        )
    if len(set(counts)) > 1:
        click.echo(f"Time grows with assignments to the power of {slope(measured):.2f}.")


def _why(error: BaseException) -> str:
    """Return an error's cause in a word that holds no person's data."""
    cause = error.__cause__
    status = getattr(error, "status", None) or getattr(
        getattr(cause, "response", None), "status_code", None
    )
    return f"HTTP {status}" if status else type(cause).__name__


def _next_version(folder: Path) -> str:
    """Return a migration's version: now, but later than every migration that is there."""
    form = "%Y%m%d%H%M%S"
    taken = [path.name[:14] for path in folder.glob("*.sql") if path.name[:14].isdigit()]
    now = datetime.now(UTC).strftime(form)
    if not taken or max(taken) < now:
        return now
    last = datetime.strptime(max(taken), form).replace(tzinfo=UTC)
    return (last + timedelta(seconds=1)).strftime(form)
