"""Everything cronguard raises, as one tree.

    CronguardError
    ├── ConfigError (also a ValueError)   an argument, a setting or a file is wrong
    ├── PluginError                       an entry point cannot be loaded or has the wrong shape
    ├── StoreError(code)                  the store did not do what it was asked
    │   └── StoreConfigError              … and never will, until somebody changes something
    ├── ChannelError(code, permanent)     an alert did not go out
    │   ├── PartialDelivery               … to everybody it was for, but to somebody it did
    │   └── SecretError                   … because a secret reference could not be resolved
    └── JobOverlap                        another run holds the job, and skipping is no answer

Only `ConfigError` (at decoration) and `JobOverlap` (at the call) reach a guarded program.
The others are what stores, channels and secret sources raise to cronguard.
"""

from __future__ import annotations

_MAX_DETAIL_CHARS = 300


class CronguardError(Exception):
    """The root of the tree."""


class ConfigError(CronguardError, ValueError):
    """An argument or a setting is wrong; the message says what, why and what to do."""


class PluginError(CronguardError):
    """A plugin is missing, cannot be imported, or is not what its group calls for."""


class StoreError(CronguardError):
    """The store did not answer, or answered with an error.

    ``code`` is a short machine-readable word such as ``"timeout"``, ``"busy"``, ``"disk_full"`` or
    an SQLSTATE. The message is a sentence of cronguard's own: a driver's text, which may hold
    credentials or data, is never passed on.
    """

    def __init__(self, message: str, *, code: str = "store_error") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), str(self), {"code": self.code})


class StoreConfigError(StoreError):
    """The store refuses for a reason that waiting does not fix: wrong key, missing schema."""


class ChannelError(CronguardError):
    """A channel could not hand over an alert.

    ``code`` is stored and shown instead of any exception text: ``"http_404"``, ``"timeout"``,
    ``"connection_refused"``. ``permanent=True`` means that sending the same bytes again cannot
    work: the alert becomes a dead letter. ``retry_after`` is in seconds, None if the other side
    named no time. ``detail`` is one more sentence of the channel's own; it must be free of
    secrets, addresses and anything the other side wrote.
    """

    def __init__(
        self,
        code: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        detail: str | None = None,
    ) -> None:
        detail = _one_line(detail) if isinstance(detail, str) else None
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.permanent = permanent
        self.retry_after = retry_after
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        keywords = {
            "permanent": self.permanent,
            "retry_after": self.retry_after,
            "detail": self.detail,
        }
        return _rebuild, (type(self), self.code, keywords)


class PartialDelivery(ChannelError):  # noqa: N818  # the alert has gone out
    """An alert was handed over for some of its recipients and refused for others.

    It counts as sent, since a repeat would double it for those who have it; ``code`` and ``detail``
    say what became of the others, and are logged and shown.
    """


class SecretError(ChannelError):
    """A secret reference names a secret that cannot be read. The alert stays pending."""


class JobOverlap(CronguardError):  # noqa: N818  # not an error of the program
    """Another run of the job is open, and ``overlap="raise"`` asks for an error.

    ``with guard(...)`` raises it with ``"skip"`` too, since a ``with`` body cannot be skipped. The
    attempt is recorded as ``skipped``.
    """


def _one_line(text: str) -> str:
    """Return a plugin's text as one harmless line, cut to a bounded length."""
    from cronguard.core.rendering import plain  # which is above this module

    return plain(text[:_MAX_DETAIL_CHARS])


def _rebuild(kind: type[CronguardError], first: str, keywords: dict[str, object]) -> CronguardError:
    return kind(first, **keywords)


__all__ = [
    "ChannelError",
    "ConfigError",
    "CronguardError",
    "JobOverlap",
    "PartialDelivery",
    "PluginError",
    "SecretError",
    "StoreConfigError",
    "StoreError",
]
