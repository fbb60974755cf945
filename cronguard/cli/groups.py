"""Groups of commands: a mistyped name is answered, and what is not used is not imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from cronguard.core.text import show, suggest


class Group(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click asks so
        """Return the names, in the order of the help page."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but answer a mistyped name with the nearest one."""
        name, known = args[0], self.list_commands(ctx)
        if not ctx.resilient_parsing and not name.startswith("-") and name not in known:
            meant = suggest(name, known) or f": there are {', '.join(known)}"
            raise click.UsageError(f"there is no command {show(name)}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help page's list, each command with its whole first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.one_liners(ctx)))

    def one_liners(self, ctx: click.Context) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        """Yield each command's name and its one-line help."""
        for name, command in self.commands.items():
            yield name, (command.help or "").partition("\n")[0]


class Lazy(NamedTuple):
    """A command that is imported when it is used."""

    module: str
    help: str
    """Its one-line help."""
    attribute: str = "command"


class LazyGroup(Group):
    """A group whose commands are imported when used, so that ``--help`` costs nothing."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click asks so
        """Return the names, in the order of the help page."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command; None if there is none of that name."""
        found = self.lazy.get(cmd_name)
        if found is None:
            return None
        command: click.Command = getattr(import_module(found.module), found.attribute)
        return command

    def one_liners(self, ctx: click.Context) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        """Yield each command's name and its one-line help, without importing any."""
        for name, found in self.lazy.items():
            yield name, found.help
