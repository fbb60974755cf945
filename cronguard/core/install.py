"""How cronguard is installed: the wording for every message that tells somebody to install it.

The distribution is called `DISTRIBUTION`; its package and its command are ``cronguard``. On the
package index that name belongs to another tool, so no message may tell pip to look for it there.
"""

from __future__ import annotations

DISTRIBUTION = "cron-guarded"
"""The name of cronguard in pip and in package metadata."""
VERSION = "0.1.0"
"""The version; the build reads it from here."""

_PIP_TARGET = "."
"""What pip is to install: a checkout until the distribution is published, then `DISTRIBUTION`."""
_WHERE_TO_RUN = "in a checkout of cronguard, run"
"""What comes before the command in a message; empty once the distribution is published."""


def pip_install(extra: str | None = None, *, afresh: bool = False) -> str:
    """Return the command that installs cronguard.

    Args:
        extra: The extra to install with it, such as ``"supabase"``; None for none.
        afresh: Whether to reinstall every file of cronguard and leave its dependencies alone.
    """
    options = "--force-reinstall --no-deps " if afresh else ""
    target = f"'{_PIP_TARGET}[{extra}]'" if extra else _PIP_TARGET
    return f"python -m pip install {options}{target}"


def how_to_install(extra: str) -> str:
    """Return what to do if an extra is missing: the end of a message, without a full stop."""
    return f"{_WHERE_TO_RUN} {pip_install(extra)}"


def how_to_upgrade() -> str:
    """Return what to do if cronguard is too old: the end of a message, without a full stop."""
    return f"in an up-to-date checkout of cronguard, run {pip_install()}"


def how_to_reinstall() -> str:
    """Return what to do if cronguard's files are damaged: the end of a message, likewise."""
    return f"{_WHERE_TO_RUN} {pip_install(afresh=True)}"


__all__ = [
    "DISTRIBUTION",
    "VERSION",
    "how_to_install",
    "how_to_reinstall",
    "how_to_upgrade",
    "pip_install",
]
