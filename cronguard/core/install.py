"""How cronguard is installed: every message that tells somebody to install it asks here.

The distribution is `DISTRIBUTION`; the package that it brings and its command are ``cronguard``. On
the package index that name is somebody else's tool, so no message may have pip look for it there.
"""

from __future__ import annotations

DISTRIBUTION = "cron-guarded"
"""What pip and package metadata call cronguard."""
VERSION = "0.1.0"
"""Read by the build too."""

_SOURCE = "."
"""What pip is given: a checkout, until the distribution is published; then `DISTRIBUTION`."""
_PLACE = "in a checkout of cronguard, run"
"""What a person must know before the command; nothing once the distribution is published."""


def pip_install(extra: str | None = None, *, afresh: bool = False) -> str:
    """Return the command that installs cronguard.

    Args:
        extra: What to install with it, such as ``"supabase"``; None for nothing.
        afresh: Put back each file of cronguard's, and leave what it depends on as it is.
    """
    options = "--force-reinstall --no-deps " if afresh else ""
    return f"python -m pip install {options}" + (f"'{_SOURCE}[{extra}]'" if extra else _SOURCE)


def how_to_install(extra: str) -> str:
    """Return what to do where an extra is missing: the end of a message, without a full stop."""
    return f"{_PLACE} {pip_install(extra)}"


def how_to_upgrade() -> str:
    """Return what to do where cronguard is too old: the end of a message, as above."""
    return f"in an up-to-date checkout of cronguard, run {pip_install()}"


def how_to_reinstall() -> str:
    """Return what to do where files of cronguard's are damaged: the end of a message, as above."""
    return f"{_PLACE} {pip_install(afresh=True)}"


__all__ = [
    "DISTRIBUTION",
    "VERSION",
    "how_to_install",
    "how_to_reinstall",
    "how_to_upgrade",
    "pip_install",
]
