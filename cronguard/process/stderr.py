"""Writing to standard error without leaving text in a buffer if it cannot be written."""

from __future__ import annotations

import io
import os
import sys


def write(text: str) -> None:
    """Write the whole text at once, whatever the encoding.

    The stream's buffer, if it has one, is bypassed: the interpreter tries again at its end to write
    what a failure left there. On a full disk it would then exit with 120, and on a pipe that nobody
    reads it would never exit.

    Raises:
        OSError: The text cannot be written.
        ValueError: The stream is closed.
        LookupError: The stream's encoding is unknown.
    """
    stream = sys.stderr
    if stream is None:
        raise OSError("there is no standard error")
    encoding = getattr(stream, "encoding", None) or "utf-8"  # Celery's replacement has none
    data = text.encode(encoding, "replace")
    buffer = getattr(stream, "buffer", None)
    if isinstance(buffer, io.BufferedWriter) and os.name == "posix":
        stream.flush()  # what the program wrote comes first
        while data:
            written = buffer.raw.write(data)
            if written is None:
                raise BlockingIOError("standard error takes no more")
            data = data[written:]
    else:
        stream.write(data.decode(encoding))
        stream.flush()


__all__ = ["write"]
