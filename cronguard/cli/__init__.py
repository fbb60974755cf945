"""The ``cronguard`` command.

A new command is one module here, named as the command and holding ``command``, and one line in
`cronguard.cli._app.COMMANDS`. Nothing but that one module is imported when it is used.
"""

from __future__ import annotations

try:
    from cronguard.cli._app import cli, main
except KeyboardInterrupt:  # Ctrl-C while it is still starting
    raise SystemExit(130) from None

__all__ = ["cli", "main"]
