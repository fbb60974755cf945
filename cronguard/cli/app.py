"""The root command, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import click

from cronguard.cli.groups import Group, Lazy, LazyGroup
from cronguard.cli.output.lines import leave_interrupted, print_error, unwritable
from cronguard.core.errors import ConfigError, CronguardError, PluginError
from cronguard.core.install import VERSION
from cronguard.core.text import show, suggest
from cronguard.process import log

COMMANDS = {
    "run": Lazy("cronguard.cli.run.command", "Guard any command, as in a crontab line."),
    "status": Lazy(
        "cronguard.cli.status.command", "Show how every job is doing, or all about one."
    ),
    "history": Lazy("cronguard.cli.commands.history", "Show a job's runs, newest first."),
    "alerts": Lazy("cronguard.cli.commands.alerts", "Show the alerts: sent, waiting, given up."),
    "report": Lazy(
        "cronguard.cli.report.command",
        "Write a page that shows how every job is doing.",
    ),
    "test-alert": Lazy("cronguard.cli.commands.test_alert", "Send a test alert for real."),
    "check": Lazy("cronguard.cli.commands.check", "Find what broke unseen, and alert."),
    "deliver": Lazy("cronguard.cli.commands.deliver", "Send every alert that is still waiting."),
    "channels": Lazy("cronguard.cli.commands.channels", "Show where alerts can go."),
    "redact-check": Lazy(
        "cronguard.cli.commands.redact_check", "Show what would be kept of messages."
    ),
    "doctor": Lazy("cronguard.cli.doctor.command", "Check settings, store and channels."),
    "snooze": Lazy(
        "cronguard.cli.commands.upkeep", "Keep a job from alerting for a while.", "snooze"
    ),
    "unlock": Lazy(
        "cronguard.cli.commands.upkeep", "Let a job start although a run of it is open.", "unlock"
    ),
    "forget": Lazy(
        "cronguard.cli.commands.upkeep",
        "Retire a job: nothing is expected of it any more.",
        "forget",
    ),
    "prune": Lazy("cronguard.cli.commands.upkeep", "Delete old runs.", "prune"),
    "init": Lazy("cronguard.cli.commands.init", "Create the tables, or bring them up to date."),
    "vault": Lazy(
        "cronguard.cli.commands.vault", "Keep the secrets of channels in Supabase Vault."
    ),
}
"""In the order of the help page."""

INTERRUPTED = 130

_EPILOG = """\b
Try it:
  cronguard run nightly -- sh -c 'exit 3'     guard a command
  cronguard status                            see what came of it
  cronguard test-alert                        see an alert arrive

\b
Completion by the shell, one line in its start-up file:
  bash   eval "$(_CRONGUARD_COMPLETE=bash_source cronguard)"
  zsh    eval "$(_CRONGUARD_COMPLETE=zsh_source cronguard)"
  fish   _CRONGUARD_COMPLETE=fish_source cronguard | source

\b
Exit codes: 0 fine, 1 something is wrong or not found, 2 usage or settings;
`run` exits as its command does."""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=_EPILOG,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, "-V", "--version", message="cronguard %(version)s")
def cli() -> None:
    """Hear once, soon and in the right place that a scheduled job is broken.

    cronguard records every run of a job, counts its failures in a row, and alerts the channels you
    set up when they reach a threshold. Settings are read from the environment and from
    [tool.cronguard] in pyproject.toml, or cronguard.toml; `cronguard doctor` says which.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one line on stderr."""
    log.echo(print_error)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if args is None else args) or ["--help"]
    code = _guarded(_without_faults_before_run(words), is_program=args is None)
    try:
        if threads := sys.modules.get("cronguard.process.threads"):
            threads.wait_for_our_threads()  # so that alerts under way arrive
    except KeyboardInterrupt:
        leave_interrupted(code or INTERRUPTED)
    return code


def _without_faults_before_run(words: list[str]) -> list[str]:
    """Leave out options before ``run`` that there are not: they keep no command from running."""
    if "--" not in words or "run" not in words[: words.index("--")]:
        return words
    cut = words.index("run")
    known = {*cli.context_settings["help_option_names"], "-V", "--version"}
    if not all(word.startswith("-") and word not in known for word in words[:cut]):
        return words
    for word in words[:cut]:
        print_error(f"there is no option {show(word)} before run: it is left out")
    return words[cut:]


def _guarded(args: list[str], *, is_program: bool) -> int:
    try:
        answer = cli.main(args, prog_name="cronguard", standalone_mode=False, obj=is_program)
    except click.UsageError as error:
        return print_error(_usage(error), code=2)
    except click.ClickException as error:
        return print_error(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except PluginError as error:  # such as an extra that is not installed
        return print_error(str(error), code=2)
    except ConfigError as error:
        lines = [str(note) for note in error.args] or ["wrong settings"]
        return max(print_error(line, code=2) for line in lines)
    except CronguardError as error:
        return print_error(str(error))
    except OSError as error:
        return print_error(unwritable(error) if _is_of_click(error) else _internal(error))
    except Exception as error:  # noqa: BLE001  # a traceback helps nobody here and may hold secrets
        return print_error(_internal(error))
    return answer if isinstance(answer, int) else 0


def _usage(error: click.UsageError) -> str:
    help_for = error.ctx.command_path if error.ctx else "cronguard"
    if isinstance(error, click.NoSuchOption) and error.ctx:
        text = _no_such_option(error.option_name, error.ctx)
    else:
        text = " ".join(error.format_message().split()).rstrip(".")
        text = text[:1].lower() + text[1:]
        text = re.sub("got unexpected extra arguments?", "too many words", text)
        if text == "missing command" and error.ctx and isinstance(error.ctx.command, Group):
            text += f": there are {', '.join(error.ctx.command.list_commands(error.ctx))}"
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
        text += f" ({(error.param.help or '').rstrip('.')})"
    return f"{text}; see {help_for} --help"


def _no_such_option(name: str, ctx: click.Context) -> str:
    """Name the option that was meant; if that is not clear, all there are."""
    known = [option for param in ctx.command.get_params(ctx) for option in _spellings(param)]
    meant = suggest(name, known) or f": it takes {', '.join(known)}"
    return f"there is no option {show(name)}{meant}"


def _spellings(param: click.Parameter) -> list[str]:
    if not isinstance(param, click.Option):
        return []
    return [name for name in (*param.opts, *param.secondary_opts) if name.startswith("--")]


def _is_of_click(error: OSError) -> bool:
    """Tell whether it is click that could not write, as for ``--help`` and ``--version``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "click.utils"


def _internal(error: BaseException) -> str:
    return (
        f"internal error, {type(error).__name__} at {_place(error)}: this is a mistake in"
        " cronguard; please report this line"
    )


def _place(error: BaseException) -> str:
    place, trace = "an unknown place", error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("cronguard"):
            place = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
