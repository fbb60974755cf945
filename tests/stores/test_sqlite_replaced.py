"""The SQLite store's file deleted, rotated or restored under a living process.

Whatever was done to it: the next run starts, no row stays running, the streak is exact, and each
alert is made once.
"""

import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.processes import Place

from cronguard.core.clock import new_id
from cronguard.core.errors import StoreError
from cronguard.core.model import AlertRule, Failure, Outcome, Owner, Run, Settlement
from cronguard.process import log
from cronguard.stores.sqlite.replaced import leftovers
from cronguard.stores.sqlite.store import SQLiteStore

WORKER = """
import os, sys

@cron_guarded(job=sys.argv[1], threshold=2, channels=["console"])
def job(how):
    if how == "wait":
        print("waits", flush=True)
        how = sys.stdin.readline().strip()
    if how == "fork":
        if not os.fork():
            os._exit(0)
        os.wait()
        print("forked", flush=True)
        how = sys.stdin.readline().strip()
    if how == "fail":
        raise ValueError("no luck")

for line in sys.stdin:
    try:
        job(line.strip())
    except ValueError:
        pass
    print("done", flush=True)
"""
HERE = Owner("host", os.getpid(), "space", "1")
TOLD = "failures in a row"


class Worker:
    """A process that runs a job as often as it is told to, and ends a run as it is told to."""

    def __init__(self, place, job="nightly"):
        self.process = place.start(place.folder / "worker.py", job, stdin=subprocess.PIPE)

    def run(self, *lines):
        for line in lines:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            assert answer in ("done\n", "waits\n", "forked\n"), self.process.communicate()

    def wait_until_sent(self, place):
        """Wait until no alert is left to send."""
        while place.rows("SELECT 1 FROM cronguard_alerts WHERE state = 'pending'"):
            time.sleep(0.01)

    def end(self):
        """What it has said on standard error."""
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        assert "Traceback" not in said
        return said


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.environ["PYTHONWARNINGS"] = "ignore"  # of a fork in a process with threads
    place.write(WORKER).rename(tmp_path / "worker.py")
    return place


@pytest.fixture
def said():
    """What is logged."""
    lines = []
    log.echo(lines.append)
    yield lines
    log.echo(None)


def beside(place, suffix):
    return Path(f"{place.path}{suffix}")


def copy(source, target):
    """As ``sqlite3 SOURCE ".backup TARGET"`` does it."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def delete(place):
    place.path.unlink()


def delete_all(place):
    for suffix in ("", "-wal", "-shm"):
        beside(place, suffix).unlink(missing_ok=True)


def rotate(place):
    place.path.rename(beside(place, ".1"))


def rotate_and_make(place):
    rotate(place)
    place.path.touch(mode=0o600)


def restore_by_name(place):
    shutil.copy(beside(place, ".bak"), beside(place, ".new"))
    beside(place, ".new").replace(place.path)


def restore_in_place(place):
    place.path.write_bytes(beside(place, ".bak").read_bytes())


def truncate(place):
    place.path.write_bytes(b"")


def restore_by_sqlite(place):
    copy(beside(place, ".bak"), place.path)


def remove_folder(place):
    while place.path.parent.exists():  # the worker may delete a file of its own meanwhile
        shutil.rmtree(place.path.parent, ignore_errors=True)


WAYS = [
    *(delete, restore_by_name, restore_in_place),
    *(
        pytest.param(way, marks=[pytest.mark.long, pytest.mark.one_python])
        for way in (delete_all, rotate, rotate_and_make, restore_by_sqlite, truncate)
    ),
]


def prepare(place):
    """A log with a success and one failure in it, and a copy of it."""
    worker = Worker(place)
    worker.run("ok", "fail")
    worker.end()
    shutil.copy(place.path, beside(place, ".bak"))


def check_log(place, job="nightly"):
    """The file is whole, and no row is left running."""
    assert place.rows("PRAGMA quick_check") == [("ok",)]
    running = "SELECT count(*) FROM cron_execution_logs WHERE status = 'running'"
    assert place.rows(running) == [(0,)]
    assert sorted(place.folder.glob("runs.db*-wal")) == []
    ((count, announced),) = place.rows(
        "SELECT consecutive_failure_count, announced FROM cronguard_jobs WHERE job = ?", job
    )
    return count, announced


@pytest.mark.parametrize("change", WAYS)
def test_between_two_runs(place, change):
    """The streak goes on, nobody is told twice, and a process that starts meanwhile can record."""
    prepare(place)
    worker = Worker(place)
    worker.run("fail")
    worker.wait_until_sent(place)
    change(place)
    other = Worker(place, "other")
    other.run("fail")
    assert other.end() == ""
    worker.run("fail", "fail")
    said = worker.end()
    assert check_log(place) == (4, "console")
    assert said.count(TOLD) == 1
    if change is not restore_in_place:  # whose journal holds all of what was there before
        assert said.count(" while this program had it open") == 1
    assert place.statuses("other") == ["failure"]
    again = Worker(place)
    again.run("fail", "ok", "fail")
    assert again.end() == ""
    assert check_log(place) == (1, None)


@pytest.mark.parametrize("how", ["wait", "fork"])
@pytest.mark.parametrize("change", WAYS)
def test_during_a_run(place, change, how):
    """Its outcome is recorded and counted, also where a fork had closed the old file."""
    prepare(place)
    worker = Worker(place)
    worker.run("fail", how)
    worker.wait_until_sent(place)
    change(place)
    worker.run("fail", "ok", "fail")
    said = worker.end()
    assert check_log(place) == (1, None)
    assert place.statuses()[-3:] == ["failure", "success", "failure"]
    counts = "SELECT consecutive_failure_count FROM cron_execution_logs WHERE job = 'nightly'"
    assert place.rows(counts)[-3:] == [(3,), (0,), (1,)]
    assert said.count(TOLD) == 1


def test_two_workers_of_a_job_notice_in_turn(place):
    """Who has seen less of the job brings less, and what the other brings stands."""
    first, second = Worker(place), Worker(place)
    first.run("fail")
    second.run("fail", "fail")
    delete(place)
    first.run("fail")
    second.run("fail")
    first.run("fail")
    said = first.end() + second.end()
    assert check_log(place) == (6, "console")
    assert said.count(TOLD) == 1
    assert said.count("was replaced") == 2


def test_two_workers_after_a_fork(place):
    """Neither has the old file open: together they know all the same."""
    first, second = Worker(place), Worker(place, "other")
    first.run("fail", "fork")
    second.run("fail", "fork")
    delete_all(place)
    second.run("fail")
    first.run("fail", "fail")
    said = first.end() + second.end()
    assert check_log(place) == (3, "console")
    assert check_log(place, "other") == (2, "console")
    assert said.count(TOLD) == 2


def test_a_backup_written_over_a_merged_log_is_no_mixture(place):
    """The journal of what was there before is not merged into what was restored."""
    prepare(place)
    worker = Worker(place)
    worker.run(*["fail"] * 600)
    restore_in_place(place)
    worker.run("fail")
    said = worker.end()
    assert check_log(place) == (602, "console")
    assert said.count(TOLD) == 1
    assert said.count("was restored") == 1
    assert not list(place.folder.glob("*.restored-*"))


def test_who_starts_beside_the_journal_of_another_file(place):
    """It sees what was restored, and not what a process that has not noticed yet has open."""
    prepare(place)
    worker = Worker(place)
    worker.run("fail")
    worker.wait_until_sent(place)
    restore_by_name(place)
    other = Worker(place, "other")
    other.run("ok")
    assert other.end() == ""
    assert place.statuses() == ["success", "failure"]
    worker.run("fail")
    assert worker.end().count(TOLD) == 1
    assert check_log(place) == (3, "console")


def test_what_is_no_database_is_not_written_over(place):
    """The job is unharmed and says so; a whole file in its place is used at once."""
    prepare(place)
    worker = Worker(place)
    worker.run("fail")
    place.path.write_bytes(b"nothing " * 4000)
    worker.run("fail")
    assert place.path.read_bytes() == b"nothing " * 4000
    delete(place)
    worker.run("fail", "fail", "ok")
    assert "was left as it is" in worker.end()
    assert check_log(place) == (0, None)


def test_the_log_that_was_moved_away_is_whole(place):
    """What was only in its journal is in the file, wherever that is."""
    worker = Worker(place)
    worker.run("ok", "fail")
    rotate(place)
    worker.run("ok")
    assert f"is {beside(place, '.1')} now" in worker.end()
    with closing(sqlite3.connect(beside(place, ".1"))) as db:
        found = db.execute("SELECT status FROM cron_execution_logs ORDER BY rowid").fetchall()
    assert found == [("success",), ("failure",)]


def test_a_folder_that_is_removed(place):
    """It is made anew."""
    place.path = place.folder / "state" / "runs.db"
    place.environ["CRONGUARD_STORE"] = f"sqlite:///{place.path}"
    worker = Worker(place)
    worker.run("fail", "fail")
    remove_folder(place)
    worker.run("fail")
    assert worker.end().count(TOLD) == 1
    assert check_log(place) == (3, "console")


def test_a_link_that_is_switched(place):
    """The new target is written to; the old one is left whole, beside its own journal."""
    targets = [place.folder / name for name in ("a.db", "b.db")]
    place.path.symlink_to(targets[0])
    worker = Worker(place)
    worker.run("fail", "fail")
    link = place.folder / "link"
    link.symlink_to(targets[1])
    link.replace(place.path)
    worker.run("fail")
    assert worker.end().count(TOLD) == 1
    assert check_log(place) == (3, "console")
    assert place.path.is_symlink()
    with closing(sqlite3.connect(targets[0])) as db:
        assert db.execute("SELECT count(*) FROM cron_execution_logs").fetchone() == (2,)


def test_a_directory_in_its_place(place):
    """The job goes on; what the old file held is not lost when there can be a file again."""
    worker = Worker(place)
    worker.run("fail")
    delete_all(place)
    place.path.mkdir()
    worker.run("fail")
    place.path.rmdir()
    worker.run("fail")
    assert "there is a folder in its place" in worker.end()
    count, announced = check_log(place)
    assert (count, announced) == (3, "console")


# --- the store alone ------------------------------------------------------------------------------


def begin(store, job="nightly", **options):
    now = datetime.now(UTC)
    run = Run(new_id(), job, now, HERE, (AlertRule("told"),), **options)
    return run, store.start_run(run, is_dead=lambda _: False)


def finish(store, run, status="failure"):
    failure = Failure("ValueError") if status == "failure" else None
    return store.finish_run(
        run, Outcome(status, datetime.now(UTC), 0.5, failure), started=True
    ).consecutive_failure_count


def fail(store, job="nightly"):
    run, _ = begin(store, job)
    return finish(store, run)


@pytest.fixture
def store(tmp_path, said):
    store = SQLiteStore(tmp_path / "runs.db")
    yield store
    store.close()


def test_a_run_that_is_open_holds_its_job_in_the_new_file(store):
    """Another thread that finds the new file does not start the same job beside it."""
    run, _ = begin(store)
    store.path.unlink()
    assert begin(store)[1].status == "skipped"
    assert finish(store, run) == 1
    assert begin(store)[1].status == "running"


def test_an_alert_that_waits_is_carried_over(store):
    """With its number of tries, so that who is sending it can settle it; it is not made again."""
    fail(store)
    fail(store)
    (sending,) = store.claim_alerts(channels=["told"])
    store.path.unlink()
    assert store.settle_alert(sending, Settlement("sent"))
    assert fail(store) == 3
    (alert,) = store.alerts()
    assert (alert.alert_id, alert.state, alert.attempts) == (sending.alert_id, "sent", 1)


def test_an_alert_of_a_backup_that_was_sent_since(store, tmp_path):
    """It waits no more."""
    fail(store)
    fail(store)
    copy(store.path, tmp_path / "copy.db")
    (sending,) = store.claim_alerts(channels=["told"])
    assert store.settle_alert(sending, Settlement("sent"))
    (tmp_path / "copy.db").replace(store.path)
    assert store.claim_alerts(channels=["told"], force=True) == []
    assert [alert.state for alert in store.alerts()] == ["sent"]


def test_a_snooze_goes_on(store):
    """With all that the old file says of a job."""
    fail(store)
    store.snooze("nightly", datetime.now(UTC) + timedelta(hours=1))
    store.path.unlink()
    assert fail(store) == 2
    assert store.alerts() == []


def test_a_file_that_knows_the_last_run_is_left_as_it_is(store, tmp_path, said):
    """A later copy of the log, with more runs in it than this process has seen."""
    fail(store)
    later = tmp_path / "copy.db"
    copy(store.path, later)
    elsewhere = SQLiteStore(later)
    assert [fail(elsewhere), fail(elsewhere)] == [2, 3]
    elsewhere.close()
    later.replace(store.path)
    assert fail(store) == 4
    assert len(store.alerts()) == 1
    assert len(said) == 1


@pytest.mark.parametrize("change", ["deleted", "moved", "restored", "written over"])
def test_two_stores_of_a_process_notice_in_turn(store, tmp_path, change):
    """The second does not take the journal of the first one's new file for the old one's."""
    other, backup = SQLiteStore(store.path), tmp_path / "backup.db"
    assert [fail(store, "mine"), fail(other, "others")] == [1, 1]
    with closing(sqlite3.connect(store.path)) as db, closing(sqlite3.connect(backup)) as copy:
        db.backup(copy)
    if change == "deleted":
        store.path.unlink()
    elif change == "moved":
        store.path.rename(tmp_path / "old.db")
    elif change == "restored":
        backup.replace(store.path)
    else:
        shutil.copyfile(backup, store.path)
    counts = [(fail(store, "mine"), fail(other, "others")) for _ in range(3)]
    assert counts == [(2, 2), (3, 3), (4, 4)]
    other.close()


def test_a_success_in_the_new_file_ends_the_streak(store, tmp_path):
    """A process that started anew has run the job well meanwhile."""
    assert [fail(store), fail(store)] == [1, 2]
    store.path.unlink()
    other = SQLiteStore(store.path)
    finish(other, begin(other)[0], "success")
    other.close()
    assert fail(store) == 1


def test_failures_in_the_new_file_are_counted_on_top(store):
    """A process that started anew knew of no streak."""
    assert [fail(store), fail(store)] == [1, 2]
    store.path.unlink()
    other = SQLiteStore(store.path)
    assert fail(other) == 1
    other.close()
    assert fail(store) == 4
    assert [alert.kind for alert in store.alerts()] == ["failing"]


def test_a_job_that_was_forgotten_stays_so(store):
    """Forgetting is no restoring: the streak of before is not brought back."""
    assert [fail(store), fail(store)] == [1, 2]
    other = SQLiteStore(store.path)
    other.forget("nightly")
    other.close()
    assert fail(store) == 1
    store.forget("nightly")
    store.path.unlink()
    assert fail(store) == 1


def test_an_outcome_that_waited_is_recorded_in_the_new_file(store):
    """Its run ended before the file was replaced, and the store could not take it."""
    run, _ = begin(store)
    store._memory.runs.clear()  # as in a process that took over what waits
    store.path.unlink()
    store.alerts()
    assert finish(store, run) == 1
    assert store.history("nightly")[0].status == "failure"


def test_a_new_file_that_cannot_be_used(store, said):
    """A StoreError as ever; the old file stays the open one until there is a good one."""
    assert fail(store) == 1
    away = Path(f"{store.path}.1")
    store.path.rename(away)
    store.path.write_bytes(b"not a database " * 1000)
    with pytest.raises(StoreError, match="not a SQLite database"):
        begin(store)
    assert store.path.read_bytes() == b"not a database " * 1000
    assert said == []
    store.path.unlink()
    assert fail(store) == 2
    assert len(said) == 1


def test_a_path_that_cannot_be_looked_at(store, monkeypatch):
    """A process that gave up its rights goes on with the file that it has open."""
    assert fail(store) == 1

    def refuse(_path):
        raise PermissionError(13, "")

    with monkeypatch.context() as patch:
        patch.setattr("cronguard.stores.sqlite.file.os.stat", refuse)
        assert fail(store) == 2


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch, said):
    """A program that changes its folder has not lost its log."""
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("runs.db")
    assert fail(store) == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert fail(store) == 2
    store.close()
    assert fail(store) == 3
    store.close()
    assert list(Path().iterdir()) == []
    assert said == []


def test_opening_gives_up_no_lock(place):
    """Of the same file, open elsewhere in the process: whoever closes a descriptor gives all up."""
    store, another = SQLiteStore(place.path), SQLiteStore(place.path)
    fail(store)
    fail(another)
    cron = Worker(place, "other")
    cron.run("ok")
    assert cron.end() == ""
    assert beside(place, "-wal").exists(), "who ended took itself for the last one"
    another.close()
    store.close()


def test_a_journal_that_is_in_use_is_not_cleared_away(store):
    """Those of the file that is there, and open, here or elsewhere."""
    fail(store)
    shm = Path(f"{store.path}-shm").stat().st_ino
    leftovers.clear_of_another(store.path)
    leftovers.clear_before_making(store.path)
    assert Path(f"{store.path}-shm").stat().st_ino == shm


def test_a_pruned_outcome_is_no_restored_file(tmp_path, caplog):
    """A process whose last outcome was pruned goes on from what others have counted since."""
    mine, other = SQLiteStore(tmp_path / "log.db"), SQLiteStore(tmp_path / "log.db")
    begin = datetime.now(UTC) - timedelta(days=100)

    def fail(store, day):
        started = begin + timedelta(days=day)
        run = Run(new_id(), "nightly", started, HERE)
        store.start_run(run, is_dead=lambda _: False)
        outcome = Outcome("failure", started, 0.0, Failure("E"))
        return store.finish_run(run, outcome, started=True).consecutive_failure_count

    assert [fail(mine, 0), fail(other, 1)] == [1, 2]
    assert other.forget("nightly")
    assert fail(other, 2) == 1
    assert other.prune(keep=timedelta(days=50)) == 2
    assert [fail(mine, 90), fail(other, 91)] == [2, 3]
    assert "was restored" not in caplog.text
    mine.close()
    other.close()


def test_a_job_that_the_restored_state_does_not_know(tmp_path):
    """SQLite's own restore writes an empty log into the open file: the streak goes on."""
    store = SQLiteStore(tmp_path / "log.db")
    store.migrate()
    copy(store.path, tmp_path / "backup.db")
    counts = []
    for number in range(4):
        if number == 2:
            copy(tmp_path / "backup.db", store.path)
        run = Run(new_id(), "nightly", datetime.now(UTC), HERE)
        started = store.start_run(run, is_dead=lambda _: False)
        outcome = Outcome("failure", datetime.now(UTC), 0.0, Failure("E"))
        ended = store.finish_run(run, outcome, started=True)
        counts.append((started.consecutive_failure_count, ended.consecutive_failure_count))
    store.close()
    assert counts == [(0, 1), (1, 2), (2, 3), (3, 4)]
