"""Programs that tests drive and that are no Python: found, or installed from Debian's packages."""

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path


def program(name, package=None):
    """Where the program is. Fails, naming the package, if it cannot be installed."""
    with Path(tempfile.gettempdir(), "cronguard-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shutil.which(name):
            install = ["apt-get", "install", "-qq", "--no-install-recommends", package or name]
            for command in (["apt-get", "update", "-qq"], install):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert not done.returncode, f"install {package or name}: {done.stderr.strip()}"
    return shutil.which(name)
