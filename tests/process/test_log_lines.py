"""What a program without logging of its own gets to see on standard error."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize(
    "said", ["channel slack is not used", "cronguard channel slack is not used"]
)
def test_a_line_says_who_speaks(said):
    """Cron mails it among the lines of the job."""
    code = f"from cronguard.process import log; log.warning({said!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == "cronguard: channel slack is not used\n"
