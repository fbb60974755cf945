"""What goes wrong inside cronguard: its modules, and what it needs of the system."""

from ..runner import Change, Entry

LOADED = "tests/runtime/test_preparation.py"
INSIDE = "tests/system/test_faults_inside.py"

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
)
