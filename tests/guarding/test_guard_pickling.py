"""Guarded callables travel: through pickle, copy, process pools and what schedulers store."""

import asyncio
import copy
import functools
import inspect
import multiprocessing
import os
import pickle
import weakref
from concurrent.futures import ProcessPoolExecutor

import pytest
from support import importable
from support.importable import Heir, Jobs
from support.record import record

from cronguard import cron_guarded

__all__ = ["record"]

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
CALLABLES = {
    "function": importable.job,
    "async function": importable.async_job,
    "under another name": importable.renamed,
    "async under another name": importable.async_renamed,
    "partial": importable.part,
    "object": importable.called,
    "bound method": Jobs("mine").method,
    "inherited method": Heir("mine").method,
    "method under another name": Jobs("mine").other_name,
    "unbound method": functools.partial(Jobs.method, Jobs("mine")),
    "class method": Jobs.class_method,
    "class method of an instance": Jobs().class_method,
    "inherited class method": Heir.class_method,
    "static method": Jobs.static_method,
    "static method inside": Jobs.inside,
}


def called(function, *args):
    result = function(*args)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


ARGUMENTS = {"partial": ()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CALLABLES)
def test_a_pickle_comes_back_guarded(record, name, protocol):
    """Still the same job with the same options, whatever it was bound to."""
    function = CALLABLES[name]
    args = ARGUMENTS.get(name, ("x",))
    again = pickle.loads(pickle.dumps(function, protocol))
    assert called(again, *args) == called(function, *args)
    (job,) = [status.job for status in record.store.jobs()]
    assert record.statuses(job) == ["success"] * 2


def test_by_name_it_is_the_very_object():
    """Where the name leads back to it, nothing is copied, and options need not be picklable."""
    assert pickle.loads(pickle.dumps(importable.job)) is importable.job
    assert b"original" not in pickle.dumps(importable.job)


def test_under_another_name_the_options_come_along():
    """All that was given to the decorator."""
    again = pickle.loads(pickle.dumps(importable.renamed))
    assert again is not importable.renamed
    assert again._self_guarded.options == importable.renamed._self_guarded.options
    assert again._self_guarded.options["threshold"] == 5


def test_what_cannot_be_found_by_name_says_so_as_ever():
    """A lambda or a local function is refused by pickle itself."""
    local = cron_guarded(job="local")(lambda: None)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_no_secret_of_the_function_is_pickled():
    """Only names and options are."""

    class Holder:
        secret = "hunter2"

    importable.job._cached = Holder.secret
    try:
        assert b"hunter2" not in pickle.dumps(importable.job)
    finally:
        del importable.job._cached


@pytest.mark.parametrize("name", CALLABLES)
def test_copies_are_guarded_too(record, name):
    """copy and deepcopy, as for functions; a deep copy of a bound method has its own object."""
    function = CALLABLES[name]
    args = ARGUMENTS.get(name, ("x",))
    for again in (copy.copy(function), copy.deepcopy(function)):
        assert called(again, *args) == called(function, *args)
    (job,) = [status.job for status in record.store.jobs()]
    assert record.statuses(job) == ["success"] * 4


def test_a_deep_copy_of_an_object_with_its_method():
    """As schedulers and dataclasses do: the method follows its object."""

    class Scheduler:
        def __init__(self):
            self.jobs = Jobs("first")
            self.run = self.jobs.method
            self.plain = importable.job

    scheduler = copy.deepcopy(Scheduler())
    assert scheduler.plain is importable.job
    assert scheduler.run.__self__ is scheduler.jobs
    scheduler.jobs.name = "second"
    assert scheduler.run("x")[0] == "second"


def test_hashes_comparisons_and_weak_references():
    """What registries of functions rely on."""
    jobs = Jobs()
    assert jobs.method == jobs.method
    assert hash(jobs.method) == hash(jobs.method)
    assert {importable.job: 1}[importable.job] == 1
    assert weakref.ref(importable.job)() is importable.job


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_pools_run_it(tmp_path, monkeypatch, method):
    """Each in another process, each recorded there."""
    monkeypatch.setenv("CRONGUARD_STORE", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", os.environ.get("PYTHONPATH", "")]))
    from cronguard.runtime import composition
    from cronguard.stores.sqlite.store import SQLiteStore

    monkeypatch.setattr(composition, "_current", None)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        futures = [
            pool.submit(called, function, "x")
            for function in (importable.job, importable.renamed, Jobs("mine").method)
        ]
        assert os.getpid() not in [future.result(60)[-1] for future in futures]
    store = SQLiteStore(tmp_path / "runs.db")
    for job in ("job", "renamed", "method"):
        assert [run.status for run in store.history(job)] == ["success"]
    store.close()
