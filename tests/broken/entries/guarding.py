"""What happens to one call, and what a signal may do to it."""

from ..runner import Change, Entry

SIGNALS = "cronguard/process/signals.py"
RECORDING = "cronguard/guarding/recording.py"
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
)
