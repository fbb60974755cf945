"""Scripts run as processes of their own, as cron would, with a home and a store of their own."""

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

PATIENCE = 60
PREAMBLE = "from cronguard import cron_guarded, guard, configure\n"
PATIENT = "from cronguard.core import model; model.DELIVERY_SECONDS = 30.0\n"


def respect_modes():
    """Return what makes a command respect the modes of files, as all but root's do."""
    if os.geteuid():
        return ()
    assert shutil.which("setpriv"), "root may do anything: to stop it, install util-linux (setpriv)"
    rights = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")


class Place:
    """A folder in which scripts run; ``environ`` is all they see of ours."""

    patient = False
    """Whether a delivery may take longer than usual, so that a busy machine's alerts arrive too."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "runs.db"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CRONGUARD_STORE": f"sqlite:///{self.path}",
            "PYTHONWARNINGS": "error",
        }
        self._scripts = 0

    def write(self, code):
        """The script's path; ``code`` is indented as the test is, cronguard's names are there."""
        self._scripts += 1
        script = self.folder / f"script_{self._scripts}.py"
        before = PATIENT + PREAMBLE if self.patient else PREAMBLE
        script.write_text(before + textwrap.dedent(code), encoding="utf-8")
        return script

    def start(self, code, *args, **options):
        """The script as a running `subprocess.Popen`."""
        environ = {**self.environ, **options.pop("env", {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        script = code if isinstance(code, Path) else self.write(code)
        return subprocess.Popen(
            [*options.pop("wrapper", ()), sys.executable, str(script), *map(str, args)],
            cwd=options.pop("cwd", self.folder),
            env={name: value for name, value in environ.items() if value is not None},
            **options,
        )

    def run(self, code, *args, timeout=PATIENCE, **options):
        """The script run to its end, as a `subprocess.CompletedProcess`."""
        with self.start(code, *args, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def rows(self, query, *values):
        """What a query finds in the store's file."""
        db = sqlite3.connect(self.path, timeout=30)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    def statuses(self, job="nightly"):
        """How the job's runs ended, oldest first."""
        return [
            row[0]
            for row in self.rows(
                "SELECT status FROM cron_execution_logs WHERE job = ? ORDER BY rowid", job
            )
        ]

    def alerts(self):
        """The outbox as (kind, channel, state, attempts), oldest first."""
        return self.rows(
            "SELECT kind, channel, state, attempts FROM cronguard_alerts ORDER BY rowid"
        )
