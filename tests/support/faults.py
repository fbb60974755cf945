"""Ways in which cronguard itself stops working under a process that lives on.

Each is code for a script of `support.processes.Place`: it defines ``break_it`` and ``mend_it``.
``package`` is where cronguard is imported from there, ``other`` a copy beside it.
"""

import os
import shutil
import sys
import textwrap
from pathlib import Path

import cronguard

PACKAGE = Path(cronguard.__file__).parent

REMOVED = """
    import shutil
    def break_it():
        shutil.rmtree(package)
    def mend_it():
        shutil.copytree(other, package)
"""
UPGRADED = """
    import shutil
    def break_it():
        shutil.rmtree(package)
        # another house: no module of today's is where it was
        package.mkdir()
        (package / "__init__.py").write_text("from cronguard.other import everything")
        (package / "other.py").write_text("everything = 1")
    def mend_it():
        shutil.rmtree(package)
        shutil.copytree(other, package)
"""
HALF_WRITTEN = """
    import importlib, shutil
    def break_it():
        for file in package.rglob("*.py"):
            file.unlink()  # other tests have it too
            file.write_text("def half_")
        shutil.rmtree(package / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
    def mend_it():
        shutil.rmtree(package)
        shutil.copytree(other, package)
"""
NO_DESCRIPTORS = """
    import os, resource
    taken = []
    def break_it():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    def mend_it():
        while taken:
            os.close(taken.pop())
"""
NO_MEMORY = """
    import os, resource
    taken = []
    def break_it():
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + (1 << 22)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        for size in 1 << 20, 1 << 16:  # with less, Python itself waits for its new threads
            try:
                while True:
                    taken.append(bytearray(size))
            except MemoryError:
                pass
    def mend_it():
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        taken.clear()
"""
NO_THREADS = """
    import _thread, threading
    starters = [(_thread, "start_new_thread")]
    for name in "_start_new_thread", "_start_joinable_thread":  # the latter since 3.13
        if hasattr(threading, name):
            starters.append((threading, name))
    real = [getattr(module, name) for module, name in starters]
    def refuse(*args, **keywords):
        raise RuntimeError("can't start new thread")
    def break_it():
        for module, name in starters:
            setattr(module, name, refuse)
    def mend_it():
        for (module, name), function in zip(starters, real):
            setattr(module, name, function)
"""
NO_PATH = """
    import importlib, sys
    kept = []
    def break_it():
        kept.extend(sys.path)
        sys.path.clear()
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()
    def mend_it():
        sys.path[:] = kept
"""
HOOK = """
    import sys
    class Hook:
        def find_spec(self, name, path=None, target=None):
            raise RuntimeError("secret=hunter2")
    def break_it():
        sys.meta_path.insert(0, Hook())
    def mend_it():
        del sys.meta_path[0]
"""
NO_IMPORT = """
    import builtins
    real = builtins.__import__
    def refuse(name, *args, **keywords):
        raise RuntimeError("secret=hunter2")
    def break_it():
        builtins.__import__ = refuse
    def mend_it():
        builtins.__import__ = real
"""
ANOTHER_USER = """
    import os
    def break_it():
        os.setresgid(65534, 65534, 0)
        os.setresuid(65534, 65534, 0)
    def mend_it():
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
"""
FAULTS = {
    "removed": REMOVED,
    "upgraded": UPGRADED,
    "half written": HALF_WRITTEN,
    "no descriptors": NO_DESCRIPTORS,
    "no memory": NO_MEMORY,
    "no threads": NO_THREADS,
    "no path": NO_PATH,
    "a hook that raises": HOOK,
    "no import": NO_IMPORT,
}
JOBS = {
    "sync": """
        @cron_guarded(job="nightly", threshold=2)
        def nightly(fail):
            work(fail)
        def run(fail):
            try:
                nightly(fail)
            except ValueError:
                pass
    """,
    "async": """
        import asyncio
        @cron_guarded(job="nightly", threshold=2)
        async def nightly(fail):
            work(fail)
        loop = asyncio.new_event_loop()
        done = loop.close
        def run(fail):
            try:
                loop.run_until_complete(nightly(fail))
            except ValueError:
                pass
    """,
    "guard": """
        def run(fail):
            try:
                with guard(job="nightly", threshold=2):
                    work(fail)
            except ValueError:
                pass
    """,
}
"""How a job is guarded: each defines ``run``, which calls ``work``."""


BEFORE = """
    import sys, time
    from pathlib import Path
    package, other = Path("site/cronguard").absolute(), Path("other/cronguard").absolute()
    calls = []

    def done():
        pass

    def work(fail):
        calls.append(fail)
        if fail:
            raise ValueError("bad")

    def be_patient():
        # a busy machine is no reason to begin a run before what waits is recorded
        from cronguard.stores.spool import backlog
        backlog.REPLAY_SECONDS = 60.0

    def wait_until_prepared():
        from cronguard.runtime.composition import current
        while current().open_runs._prepare is not None:
            time.sleep(0.01)

    def wait_until_recorded():
        # where the watchdog was at what waits, the last run did not wait for it
        from cronguard.runtime.composition import current
        while current().store.waiting():
            time.sleep(0.01)

    def wait_until_told():
        from cronguard.runtime.composition import current
        while current().dispatcher._under_way:
            time.sleep(0.01)
"""
LONG_LIVED = """
    run(False)
    if "cold" not in sys.argv:
        wait_until_prepared()
    break_it()
    for fail in True, True, True, False, True:
        run(fail)
    mend_it()
    be_patient()
    run(True)
    wait_until_recorded()
    assert calls == [False, True, True, True, False, True, True], calls
    wait_until_told()
    done()
"""
EXPECTED = [
    ("success", 0),
    ("failure", 1),
    ("failure", 2),
    ("failure", 3),
    ("success", 0),
    ("failure", 1),
    ("failure", 2),
]


def script(*parts):
    """A script of these parts, with ``work`` and what it waits for before them."""
    return "\n".join(textwrap.dedent(part) for part in (BEFORE, *parts))


def install(folder):
    """Put the package to be broken to ``site`` in the folder, and another copy beside it.

    With this Python's bytecode: to compile all again would take longer than most of these tests.
    Both are of one copy for all tests, the first with links of its own: to write the files for each
    test, and to delete them, takes longer yet.
    """
    copy = folder.parent / "cronguard-copy" / "cronguard"
    if not copy.exists():
        draft = copy.with_name("draft")
        shutil.copytree(PACKAGE, draft, ignore=_but_this_pythons_bytecode)
        draft.rename(copy)
    shutil.copytree(copy, folder / "site" / "cronguard", copy_function=os.link)
    (folder / "other").mkdir()
    (folder / "other" / "cronguard").symlink_to(copy)
    return folder / "site"


def _but_this_pythons_bytecode(_folder, names):
    ending = f".{sys.implementation.cache_tag}.pyc"
    return [name for name in names if name.endswith(".pyc") and not name.endswith(ending)]
