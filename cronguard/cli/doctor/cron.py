"""The environment that cron gives a job, for ``cronguard doctor --as-cron``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from cronguard.cli.doctor.crontab import variables
from cronguard.cli.doctor.findings import Check
from cronguard.core.model import SecretRef

if TYPE_CHECKING:
    from cronguard.settings.types import Settings

_KEPT = ("HOME", "LOGNAME", "USER")
_SET = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
_PREFIXES = ("CRONGUARD_", "SUPABASE_", "SSL_CERT_")


def enter(here: Settings, crontab: str) -> Iterator[Check]:
    """Make this process's environment and working directory what cron's are.

    Args:
        here: The settings in the environment that this process was started in.
        crontab: The user's crontab.

    Yields:
        What that means for settings.
    """
    wanted = _wanted(here)
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environ |= _SET | variables(crontab)
    missing = sorted(name for name in wanted if os.environ.get(name) and name not in environ)
    os.environ.clear()
    os.environ.update(environ)
    with suppress(OSError):
        os.chdir(environ.get("HOME") or "/")
    known = ", ".join(sorted(environ))
    if missing:
        yield Check(
            "cron",
            "warning",
            f"cron does not have {', '.join(missing)}, which this shell has: write lines NAME=value"
            " into the crontab before the jobs, or CRONGUARD_CONFIG=/path/cronguard.toml and the"
            f" settings there (looked at with {known})",
        )
    else:
        yield Check("cron", "ok", f"looked at as cron does, with {known}")


def _wanted(settings: Settings) -> set[str]:
    """Return the variables that are settings, or that settings refer to."""
    names = {name for name in os.environ if name.startswith(_PREFIXES)}
    names.discard("CRONGUARD_RUN")
    refs: list[Iterable[object]] = [channel.options.values() for channel in settings.channels]
    refs += [job.values() for job in settings.jobs.values()]
    refs.append((settings.store, settings.proxy))
    names |= {
        ref.name
        for each in refs
        for ref in each
        if isinstance(ref, SecretRef) and ref.scheme == "env"
    }
    return names | ({"HTTPS_PROXY", "NO_PROXY"} if settings.proxy == "env" else set())


__all__ = ["enter"]
