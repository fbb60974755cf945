"""What goes wrong inside cronguard: its modules, and what it needs of the system."""

from ..runner import Change, Entry

LOADED = "tests/runtime/test_preparation.py"
INSIDE = "tests/system/test_faults_inside.py"
THREADS = "tests/process/test_threads.py"
HIDDEN = "tests/system/test_hidden_modules.py"

ENTRIES = (
    Entry(
        "a module that a failure needs is loaded when it fails",
        (Change("cronguard/channels/slack.py", '    "".encode("utf-16-le")\n', "    pass\n"),),
        (f"{LOADED}::test_nothing_is_imported_when_a_job_fails",),
    ),
    Entry(
        "the SQL of the local database is read when it is needed",
        (
            Change(
                "cronguard/stores/spooled.py",
                "            sql_texts(schema)\n",
                "            pass\n",
            ),
        ),
        (f"{INSIDE}::test_what_the_spool_reads_is_read_before",),
    ),
    Entry(
        "the import lock is held while others import",
        (
            Change(
                "cronguard/process/imports.py",
                "    if not lifecycle.imports_of_others():\n        return True\n",
                "    return True\n",
            ),
        ),
        (f"{LOADED}::test_an_import_under_way_is_seen",),
    ),
    Entry(
        "what is broken inside the log's own path reaches the job",
        (
            Change(
                "cronguard/process/log.py",
                "        last_line(message % values if values else message)\n",
                "        raise caught\n",
            ),
        ),
        (f"{INSIDE}::test_nothing_can_be_imported_at_all",),
    ),
    Entry(
        "the last line goes to whatever has the number of standard error",
        (
            Change(
                "cronguard/process/log.py",
                "if _stderr is not None and _file_of_stderr() == _stderr:",
                "if _STDERR:",
            ),
        ),
        (f"{INSIDE}::test_the_last_line_goes_to_standard_error_alone",),
    ),
    Entry(
        "a store that cannot be opened leaves the job untold",
        (
            Change(
                "cronguard/runtime/store_factory.py",
                "        store = default_store(settings)\n    except Exception as error:",
                "        store = default_store(settings)\n    except ConfigError as error:",
            ),
            Change(
                "cronguard/guarding/recording.py",
                "            say_unsent(job, outcome)\n",
                "            pass\n",
            ),
        ),
        (f"{INSIDE}::test_python_lacks_a_module",),
    ),
    Entry(
        "a file beside the job is taken for Python's own module",
        (Change("cronguard/__init__.py", "if _is_something_hidden():", "if not sys.path:"),),
        (f"{HIDDEN}::test_a_module_is_hidden", f"{HIDDEN}::test_the_job_itself_has_the_name"),
    ),
    Entry(
        "what a run needs besides is not loaded ahead where a file hides it",
        (
            Change(
                "cronguard/runtime/composition.py",
                "if hidden is None or not hidden.hides():",
                "if sys.modules:",
            ),
        ),
        (f"{HIDDEN}::test_a_module_is_hidden",),
    ),
    Entry(
        "the program finds Python's module in place of its own file",
        (
            Change(
                "cronguard/process/hidden.py",
                "            sys.modules.update(self._theirs)\n",
                "            sys.modules.update(_own)\n",
            ),
        ),
        (f"{HIDDEN}::test_a_module_is_hidden",),
    ),
    Entry(
        "a cronguard that cannot be imported stops the job",
        (
            Change(
                "cronguard/__init__.py",
                "    return _stand_in(name, caught)\n",
                "    raise caught\n",
            ),
        ),
        (f"{HIDDEN}::test_cronguard_cannot_be_imported",),
    ),
    Entry(
        "a time limit of the program's is lost while cronguard is imported",
        (
            Change(
                "cronguard/__init__.py",
                'if name == "__version__" or _is_the_programs(caught):',
                'if name == "__version__":',
            ),
        ),
        (f"{HIDDEN}::test_a_time_limit_ends_the_import",),
    ),
    Entry(
        "the command line runs files of the working directory",
        (Change("cronguard/cli/__init__.py", "look_in_library_first()  #", "pass  #"),),
        (f"{HIDDEN}::test_a_command_is_run",),
    ),
    Entry(
        "a thread that Python starts is taken for one that has begun",
        (
            Change(
                "cronguard/process/threads.py",
                "if not _begins and give_up(thread):",
                "if not _begins and not thread:",
            ),
        ),
        (f"{THREADS}::test_a_thread_that_does_not_begin",),
    ),
    Entry(
        "what a thread has not done before it ended is done by nobody",
        (
            Change(
                "cronguard/guarding/call.py",
                "        if threads.give_up(thread):",
                "        if not thread:",
            ),
        ),
        (f"{THREADS}::test_an_asynchronous_run_whose_threads_end_at_once",),
    ),
)
