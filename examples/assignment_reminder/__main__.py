"""The assignment reminder, complete: README.md beside this file tells how it is used.

python -m pip install . && python examples/assignment_reminder
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("cronguard") is None:
        sys.exit("cronguard is not installed here: run python -m pip install . first")
    from reminders.cli import main

    try:
        main(prog_name="python examples/assignment_reminder")
    except BrokenPipeError:
        os._exit(1)  # nobody reads on
