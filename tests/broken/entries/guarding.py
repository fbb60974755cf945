"""What happens to one call, and what a signal may do to it."""

from ..runner import Change, Entry

SIGNALS = "cronguard/process/signals.py"
RECORDING = "cronguard/guarding/recording.py"
PLUGIN = "tests/testing/test_pytest_plugin.py"
UNDER_SIGNALS = "tests/guarding/test_guard_signals.py"

ENTRIES = (
    Entry(
        "any error after Ctrl-C is a cancellation",
        (
            Change(
                RECORDING,
                'if _type_name(kinds[0]) == "CancelledError" and interrupted_by_ctrl_c():',
                "if interrupted_by_ctrl_c():",
            ),
        ),
        ("tests/guarding/test_guard_cancel.py::test_an_error_after_ctrl_c_is_a_failure",),
    ),
    Entry(
        "a run forgets the runs around it",
        (
            Change(
                RECORDING,
                "_open_runs.set((*(run for run in outer if run.live), self) if outer else (self,))",
                "_open_runs.set((self,) if outer else (self,))",
            ),
        ),
        ("tests/guarding/test_guard_sync.py::test_the_same_job_further_inside_counts_once",),
    ),
    Entry(
        "a run that goes well loads what reads errors",
        (
            Change(
                RECORDING,
                "from cronguard.process import log\n",
                "from cronguard.privacy import capture as _capture\n"
                "from cronguard.process import log\n",
            ),
        ),
        ("tests/system/test_counts.py::test_a_run_that_goes_well_loads_little",),
    ),
    Entry(
        "a failed run is closed but once",
        (
            Change(
                "cronguard/guarding/call.py",
                "            except BaseException:\n"
                "                recording.close(error)  # a signal handler may have raised before"
                " it was done\n"
                "                raise\n",
                "            finally:\n                pass\n",
            ),
        ),
        (f"{UNDER_SIGNALS}::test_struck_when_the_function_has_failed",),
    ),
    Entry(
        "nobody asks whether a handler raised it",
        (
            Change(
                SIGNALS,
                "interruption = raised_by_handler(caught)",
                "interruption = None",
            ),
        ),
        (f"{UNDER_SIGNALS}::TestWhileAnErrorIsRead",),
    ),
    Entry(
        "Ctrl-C's own handler is not known",
        (
            Change(
                SIGNALS,
                "if trace.tb_next is None and _is_ctrl_c(found, trace):",
                "if trace.tb_next is None and found is None:",
            ),
        ),
        (f"{UNDER_SIGNALS}::TestWhileAnErrorIsRead",),
    ),
    Entry(
        "overlap raise only skips",
        (
            Change(
                "cronguard/guarding/call.py",
                "        raise JobOverlap(recording.overlap)\n",
                "        return\n",
            ),
        ),
        (
            "tests/guarding/test_overlap.py::test_overlap_raise_refuses_the_call",
            "tests/guarding/test_overlap.py::test_overlap_raise_waits_for_the_await",
            "tests/guarding/test_overlap.py::test_overlap_raise_keeps_the_streak",
        ),
    ),
    Entry(
        "every skip speaks of unlock",
        (
            Change(
                RECORDING,
                "if max_runtime and (run.started_at - holder.started_at).total_seconds()"
                " > max_runtime:",
                "if max_runtime:",
            ),
        ),
        ("tests/guarding/test_overlap.py::test_a_skip_says_since_when_and_where",),
    ),
    Entry(
        "nobody is told of a retry around the guard",
        (
            Change(
                "cronguard/guarding/call.py",
                "    if library not in _RETRYING:\n",
                "    if library:\n",
            ),
        ),
        (
            "tests/guarding/test_retry.py::test_a_retry_outside_the_guard_is_told_of_once",
            "tests/guarding/test_retry.py::test_celery_s_autoretry_is_told_of",
        ),
    ),
    Entry(
        "a lazy Celery task is asked for its class",
        (
            Change(
                "cronguard/guarding/decorator.py",
                "type.mro(type(func))",
                "type.mro(func.__class__)",
            ),
        ),
        ("tests/guarding/test_guard_sync.py::test_a_celery_task_is_refused",),
    ),
    Entry(
        "a mistyped job of a test has a streak of 0",
        (Change("cronguard/testing/harness.py", "if name not in known:", "if not name:"),),
        (f"{PLUGIN}::test_a_mistyped_name_is_an_error",),
    ),
    Entry(
        "isolation begins with the first test",
        (
            Change(
                "cronguard/testing/pytest_plugin.py",
                "@pytest.hookimpl(wrapper=True, tryfirst=True)\ndef pytest_load_initial_conftests(",
                "def not_a_hook(",
            ),
        ),
        (f"{PLUGIN}::test_what_runs_before_the_first_test_is_kept_apart",),
    ),
    Entry(
        "what a caller's globals raise replaces the job's error",
        (
            Change(
                "cronguard/guarding/call.py",
                "recording, error, caller, only=Exception)",
                "recording, error, caller, only=OSError)",
            ),
        ),
        ("tests/guarding/test_retry.py::test_a_caller_that_cannot_be_judged_harms_no_job",),
    ),
)
