"""Groups of commands that are imported when used, so that ``--help`` costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from cronguard._words import show, suggest


class LazyGroup(click.Group):
    """A group whose commands are modules.

    ``lazy`` maps a command's name to its one-line help, in the order of the help page. Command
    ``test-alert`` is ``command`` of the module ``<prefix>test_alert``.
    """

    def __init__(self, *args: Any, prefix: str, lazy: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.prefix = prefix
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click asks so
        """The names, in the order of the help page."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now; None if there is none of that name."""
        if cmd_name not in self.lazy:
            return None
        command: click.Command = import_module(self.prefix + cmd_name.replace("-", "_")).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's own, but a mistyped name is answered with the nearest one."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and name not in self.lazy:
            meant = suggest(name, self.lazy) or f": there are {', '.join(self.lazy)}"
            raise click.UsageError(f"there is no command {show(name)}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The help page's list, written without importing what it lists."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lazy.items()))
