"""`write`: a text on standard error, of which nothing is left behind when it cannot be written."""

from __future__ import annotations

import io
import os
import sys


def write(text: str) -> None:
    """Write the whole text at once, whatever the encoding. Raises OSError, ValueError, LookupError.

    Past the stream's buffer, as far as there is one: what stays in it after a failure, the
    interpreter tries to write once more at its end. On a full disk it would then exit with 120, and
    where nobody reads, never.
    """
    stream = sys.stderr
    if stream is None:
        raise OSError("there is no standard error")
    encoding = getattr(stream, "encoding", None) or "utf-8"  # Celery's stand-in has none
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
