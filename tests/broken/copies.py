"""A throw-away copy of the checkout, and an environment in which ``cronguard`` is that copy.

Many tests start a Python of their own, and leave it little of their environment variables: so the
copy is not put on PYTHONPATH, but has an environment whose packages are lent by the one that runs.
"""

import os
import shutil
import site
import subprocess
import sys
import venv
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_OURS = ("cron_guarded", "_editable_impl_cron_guarded", "__editable__.cron_guarded")
_POINTER = "_editable_impl_cron_guarded.pth"
_SCRIPT = """#!{python}
import sys
from {module} import {name}
sys.exit({attribute}())
"""
_WHERE = "import cronguard.core.install as found; print(found.__file__)"


class CopyError(Exception):
    """A copy cannot be made, or would not be what its tests import."""


class Copy:
    """A checkout in ``folder``, with an environment and a place for temporary files beside it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkout = folder / "copy"
        self.python = folder / "env" / "bin" / "python"

    def environ(self) -> dict[str, str]:
        """Return the environment variables of a process that is to use the copy."""
        dropped = ("GIT_", "PYTHONPATH", "PYTHONHOME", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return kept | {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(self.python.parents[1]),
            "TMPDIR": str(self.folder / "t"),
        }

    def remove(self) -> None:
        """Remove all of it; tests leave folders that nobody may enter."""
        for folder, names, _ in os.walk(self.folder):
            for name in names:
                path = Path(folder, name)
                if not path.is_symlink():
                    with suppress(OSError):  # who was killed may still have removed it
                        path.chmod(0o700)
        shutil.rmtree(self.folder, ignore_errors=True)


def tracked_files(root: Path = ROOT) -> list[Path]:
    """Return the files of a checkout that git knows or would take, or all where it knows none."""
    if not (root / ".git").exists():
        names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(name for name in names if "__pycache__" not in name.parts)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CopyError(f"{root} is no checkout that git knows: {done.stderr.strip()}")
    listed = {Path(name) for name in done.stdout.split("\0") if name}
    return sorted(name for name in listed if (root / name).is_file())


def make_copy(folder: Path, root: Path = ROOT) -> Copy:
    """Copy the checkout's files into a new folder, and make the environment."""
    copy = Copy(folder)
    for name in tracked_files(root):
        target = copy.checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)
    (folder / "t").mkdir()
    if (root / ".git").exists():  # some tests ask git for the files
        subprocess.run(
            ["git", "init", "--quiet"], cwd=copy.checkout, env=copy.environ(), check=True
        )
    _make_environment(folder / "env", copy.checkout)
    _check_import(copy)
    return copy


def _make_environment(folder: Path, checkout: Path) -> None:
    venv.EnvBuilder(symlinks=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for place in [*site.getsitepackages(), site.getusersitepackages()]:
        if place not in sys.path or not Path(place).is_dir():
            continue
        for path in Path(place).iterdir():
            link = packages / path.name
            if path.name == "cronguard" or link.is_symlink() or link.exists():
                continue
            if not (path.name.startswith(_OURS) and path.suffix in (".pth", ".py")):
                link.symlink_to(path)
    (packages / _POINTER).write_text(f"{checkout}\n", encoding="utf-8")
    for point in entry_points(group="console_scripts"):
        script = folder / "bin" / point.name
        if script.exists() or not point.attr:
            continue
        text = _SCRIPT.format(
            python=folder / "bin" / "python",
            module=point.module,
            name=point.attr.partition(".")[0],
            attribute=point.attr,
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)


def _check_import(copy: Copy) -> None:
    """Raise where a Python without any help would import another ``cronguard`` than the copy's."""
    command = [copy.python, "-I", "-c", _WHERE]
    done = subprocess.run(command, env=copy.environ(), capture_output=True, text=True, check=False)
    if done.returncode or not Path(done.stdout.strip()).is_relative_to(copy.checkout):
        said = (done.stdout or done.stderr).strip().splitlines()[-1:]
        raise CopyError(f"the tests would not import the copy: {' '.join(said)}")
