"""Runtime errors without personal data, raised by real code wherever that is possible.

Each snippet is a program of its own, so that the only literals along its traceback are the ones a
user's program would have there. PostgreSQL's messages were taken down from version 15 through
psycopg 3; PostgREST's are its error documents as its Python client shows them.
"""

from __future__ import annotations

import json
from pathlib import Path

_HERE = Path(__file__).parent


def clean_errors():
    """``(library, exception)`` for each snippet and each message of PostgreSQL and PostgREST."""
    library = ""
    for line in (_HERE / "clean_snippets.txt").read_text("utf-8").splitlines():
        if line.startswith("# "):
            library = line.removeprefix("# ")
        elif line:
            try:
                exec(compile(line, "job.py", "exec"), {"__name__": "job"})
            except Exception as error:  # noqa: BLE001
                yield library, error
    texts = json.loads((_HERE / "clean_texts.json").read_text("utf-8"))
    for library, messages in texts.items():
        for message in messages:
            yield library, RuntimeError(message)
