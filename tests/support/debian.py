"""Programs that tests drive and that are no Python: found, or installed from Debian's packages."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def program(name, package=None):
    """Return where the program is, installed by root; fail with the package to install."""
    with Path(tempfile.gettempdir(), f"cronguard-tests-apt-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shutil.which(name):
            install(package or name)
    return shutil.which(name)


def install(package):
    """Install a package of Debian's, which takes root."""
    please = f"install the system's package {package}, or run this test as root once"
    assert os.geteuid() == 0, please
    assert shutil.which("apt-get"), please
    command = ["apt-get", "install", "-qq", "--no-install-recommends", package]
    for each in (["apt-get", "update", "-qq"], command):
        done = subprocess.run(each, capture_output=True, text=True, check=False)
        assert not done.returncode, f"{please}: {done.stderr.strip()}"
