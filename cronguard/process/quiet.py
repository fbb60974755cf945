"""Log lines of libraries that cronguard uses, kept out of the job's log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpx")
_here = threading.local()


class _Silence(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not getattr(_here, "silenced", False)


_filter = _Silence()


@contextmanager
def silence_http_logging() -> Iterator[None]:
    """Let HTTP libraries log nothing from this thread; a program's own requests stay in its log.

    Their lines hold addresses and the headers of answers, which can repeat a secret.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)
    before = getattr(_here, "silenced", False)
    _here.silenced = True
    try:
        yield
    finally:
        _here.silenced = before


__all__ = ["silence_http_logging"]
