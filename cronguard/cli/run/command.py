"""``cronguard run``."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from cronguard.cli.arguments import complete_channels, complete_jobs
from cronguard.settings.job_values import check_names
from cronguard.settings.options import JOB_OPTIONS, NONE, JobOption

_EXAMPLE = ": write cronguard run JOB -- COMMAND, such as cronguard run nightly -- ./nightly.sh"


class _Run(click.Command):
    """Everything after the first ``--`` is the command's, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            if ctx.resilient_parsing or set(args) & set(ctx.help_option_names):
                return super().parse_args(ctx, args)
            raise click.UsageError(f"the command must stand after two dashes{_EXAMPLE}", ctx)
        cut = args.index("--")
        own, ctx.meta["command"] = args[:cut], args[cut + 1 :]
        if ctx.resilient_parsing:
            return super().parse_args(ctx, own)
        if not ctx.meta["command"]:
            raise click.UsageError(f"no command follows the two dashes{_EXAMPLE}", ctx)
        from cronguard.cli.run.options import RightArguments

        right = RightArguments(self.get_params(ctx), own)
        ctx.meta["unclear"] = right.unclear
        return super().parse_args(ctx, right.words)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


def _job_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a job."""
    for option in reversed([*JOB_OPTIONS.values()]):
        if "command" in option.places and option.name != "job":
            function = _option(option)(function)
    return function


def _option(option: JobOption) -> Callable[[Callable[..., int]], Callable[..., int]]:
    is_flag, many = isinstance(option.default, bool), option.check is check_names
    default = option.none if many else "no" if is_flag else option.default_text or NONE
    default = option.command_default or default
    taken_back = f"; `{NONE}`: {option.none}" if option.none and not many else ""
    return click.option(
        f"{option.flag}/--no-{option.flag[2:]}" if is_flag else option.flag,
        option.name,
        default=None,
        multiple=many,
        type=bool if is_flag else click.Choice(option.choices) if option.choices else None,
        metavar=option.metavar,
        help=f"{option.help}{taken_back}.  [{default}]",
        shell_complete=complete_channels if many else None,
    )


@click.command(cls=_Run)
@click.argument("job", metavar="JOB", required=False, shell_complete=complete_jobs)
@_job_options
@click.option(
    "--no-output",
    is_flag=True,
    help="Keep nothing of standard error, and leave it alone: a terminal stays one.",
)
@click.pass_context
def command(ctx: click.Context, /, *, no_output: bool, **given: Any) -> int:
    """Guard any command, as in a crontab line.

    Runs COMMAND and records how it ended as a run of JOB. Output and signals pass through, and the
    exit code is the command's: 128+N if signal N ended it, 126 and 127 if it cannot be executed or
    found. While another run of JOB is open, COMMAND is skipped and the exit code is 0, or 75 with
    `--overlap raise`. Neither a store that is down nor anything wrong in settings or before the two
    dashes keeps COMMAND from running: what is wrong is one line, and is left out.

    The end of what COMMAND writes to standard error is kept as the error's message, with
    everything private masked (nothing at all with `redact = "strict"`). The command line itself is
    recorded nowhere. A Python job of the same name that is decorated inside COMMAND is this run,
    not another one.

    Options not given are those of the job in the settings ([tool.cronguard.job.NAME]). What neither
    says of the job's schedule, limits and thresholds stays as earlier runs stated it, so a run by
    hand changes nothing. `default`, or `none`, takes an option back.

    A `--schedule` is in this host's time zone, as cron's is, unless `--timezone` or the job's
    settings name one: that of CRON_TZ or TZ if set, else of /etc/localtime. Where it has no name
    that can be found, the schedule is left out, and one line says so.

    \b
    Examples:
      cronguard run nightly -- ./nightly.sh --verbose
      cronguard run invoices --threshold 3 --max-runtime 2h -- python -m app.invoices
      */15 * * * *  cronguard run sync -- sh -c 'fetch | load'
    """
    if sys.platform == "win32":
        from cronguard.cli.run.child_windows import Child
    else:
        from cronguard.cli.run.child import Child
    options = {key: value for key, value in given.items() if value not in (None, ())}
    words = ctx.meta["command"]
    with Child(words, keep_stderr=not no_output, last_act=bool(ctx.obj)) as child:
        from cronguard.cli.run.guarded_command import run_guarded  # once it has forked: see Child

        code = run_guarded(child, options, ctx.meta["unclear"], words[0])
    if ctx.obj:
        _end_process(code)
    return code


def _end_process(code: int) -> NoReturn:
    """End without taking the interpreter apart, which takes longer than all that a run does."""
    atexit._run_exitfuncs()  # noqa: SLF001  # as the interpreter would
    for stream in sys.stdout, sys.stderr:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)
