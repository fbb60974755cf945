"""Forks of the program, and the threads that must not be in their way."""

from ..runner import Change, Entry

PHASES = "cronguard/process/lifecycle.py"
THREADS = "cronguard/process/threads.py"
FORKS = "tests/process/test_forks.py"
MEMORY = "tests/stores/test_sqlite_memory.py"
LIFECYCLE = "tests/process/test_lifecycle.py"
WORLDS = "tests/system/test_other_worlds.py"

ENTRIES = (
    Entry(
        "nothing is done at a fork",
        (
            Change(
                PHASES,
                "    os.register_at_fork(\n"
                "        before=_before_fork,\n"
                "        after_in_parent=_after_fork_in_parent,\n"
                "        after_in_child=_after_fork_in_child,\n"
                "    )",
                "    pass",
            ),
        ),
        (
            f"{FORKS}::test_no_file_is_open_when_a_fork_comes",
            f"{FORKS}::test_a_child_imports_what_a_thread_was_about_to_import",
        ),
    ),
    Entry(
        "a fork waits for no import",
        (
            Change(
                PHASES,
                'register("imports", before_fork=_wait_for_imports, in_child=_forget_imports)',
                'register("imports", in_child=_forget_imports)',
            ),
        ),
        (f"{FORKS}::test_a_fork_waits_for_a_first_guarded_run_to_import_what_it_needs",),
    ),
    Entry(
        "a child forgets the imports of cronguard's own threads only",
        (
            Change(
                PHASES,
                "    for name, owner in imports_of_others():\n"
                "        _module_locks().pop(name, None)",
                "    threads = threading.enumerate()\n"
                "    ours = {t.ident for t in threads if t.name.startswith(THREAD_NAME_PREFIX)}\n"
                "    for name, owner in imports_of_others():\n"
                "        if owner not in ours:\n            continue\n"
                "        _module_locks().pop(name, None)",
            ),
        ),
        (f"{FORKS}::test_a_child_imports_what_a_first_guarded_run_was_importing",),
    ),
    Entry(
        "files are closed before imports are waited for",
        (
            Change(
                PHASES,
                'BEFORE_FORK: tuple[Phase, ...] = ("threads", "imports", "files")',
                'BEFORE_FORK: tuple[Phase, ...] = ("files", "threads", "imports")',
            ),
        ),
        (f"{FORKS}::test_runs_go_on_while_a_fork_waits_for_imports",),
    ),
    Entry(
        "a file that is made while the program forks is opened at once",
        (
            Change(
                "cronguard/stores/sqlite/connections.py",
                "        if _keeper is not None:\n"
                "            _keep(file, 0.0)  # nobody else has it yet\n",
                "",
            ),
        ),
        (
            f"{FORKS}::test_a_file_that_is_made_while_a_process_forks",
            f"{FORKS}::test_a_first_run_that_begins_while_a_process_forks",
        ),
    ),
    Entry(
        "a thread does not mind what number it has at its end",
        (
            Change(
                THREADS,
                "        if number != threading.get_ident() and number in active:\n",
                "        if number not in active and number in active:\n",
            ),
        ),
        (f"{WORLDS}::test_greenlets_that_come_late",),
    ),
    Entry(
        "under gevent the watchdog is started at once after a fork",
        (
            Change(
                "cronguard/runtime/composition.py",
                "start_after_fork(paused.open_runs.watchdog.ensure)",
                "paused.open_runs.watchdog.ensure()",
            ),
        ),
        (f"{WORLDS}::test_greenlets_that_fork",),
    ),
    Entry(
        "a fork takes no file's lock",
        (
            Change(
                "cronguard/stores/sqlite/connections.py",
                "    take(_held, file.lock, seconds, noted=file)\n",
                "    _held.append(file)\n",
            ),
            Change(
                "cronguard/stores/sqlite/connections.py",
                'any(map(methodcaller("release"), locks))',
                "del locks",
            ),
        ),
        (
            f"{FORKS}::test_no_file_is_open_when_a_fork_comes",
            "tests/stores/test_sqlite_memory.py::test_no_thread_is_inside_memory_when_a_fork_comes",
        ),
    ),
    Entry(
        "a thread of cronguard's goes on in a child that a plugin forked",
        (Change(THREADS, "        os._exit(0)\n", "        pass\n"),),
        (f"{LIFECYCLE}::test_a_child_that_comes_back_into_a_thread_of_ours",),
    ),
    Entry(
        "the store is closed at the very end",
        (
            Change(
                PHASES,
                '("deliveries", "imports", "outcomes", "threads")',
                '("deliveries", "imports", "threads", "outcomes")',
            ),
        ),
        (f"{LIFECYCLE}::test_phases_are_done_in_their_order",),
    ),
    Entry(
        "nobody waits for what a daemon thread has begun",
        (Change(THREADS, "is_done, deadline, daemon=False", "is_done, deadline"),),
        (f"{LIFECYCLE}::test_the_process_waits_for_what_a_daemon_thread_began",),
    ),
)
