"""A throw-away environment with cronguard, installed from this checkout, and its peers."""

import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ("cronwatch-sdk==0.14.3", "sentry-sdk==2.75.0", "cronitor==4.9.0")


def make(folder):
    """Make it in the folder; its interpreter's path."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pip(python, *PEERS, str(ROOT))
    return python


def pip(python, *arguments):
    """Install quietly."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)
