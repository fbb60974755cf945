"""The ``cronguard`` command.

A command is a module in ``commands/``, or a package where it takes several (``run``, ``doctor``,
``report``), and a line in `app.COMMANDS`. Nothing but what a command needs is imported when it is
used.
"""

from __future__ import annotations

from cronguard.process.hidden import look_in_library_first

look_in_library_first()  # files in the working directory and on PYTHONPATH are not for us
try:
    from cronguard.cli.app import cli, main
except KeyboardInterrupt:  # Ctrl-C while it is still starting
    raise SystemExit(130) from None

__all__ = ["cli", "main"]
