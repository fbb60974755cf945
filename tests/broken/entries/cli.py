"""What people see."""

from ..runner import Change, Entry

ENTRIES = (
    Entry(
        "jobs that are well come first",
        (
            Change(
                "cronguard/cli/status/overview.py",
                'return health.state in ("ok", "new") and not needs_attention(health, now)',
                'return health.state not in ("ok", "new")',
            ),
        ),
        (
            "tests/cli/test_cli_status.py::test_what_is_wrong_is_seen_at_a_glance",
            "tests/cli/test_cli_status.py::test_elsewhere_everything_is_listed",
        ),
    ),
    Entry(
        "jobs are left out of status without a word",
        (
            Change(
                "cronguard/cli/status/overview.py",
                "return [*folded, *wrap(_FOLDED, screen.columns), *end]",
                "return [*folded, *end]",
            ),
        ),
        ("tests/cli/test_cli_status.py::test_nothing_is_hidden_without_a_word",),
    ),
    Entry(
        "a snoozed job needs somebody",
        (
            Change(
                "cronguard/core/health.py",
                "(wrong and health.snoozed_until is None)",
                "wrong",
            ),
        ),
        ("tests/cli/test_cli_status.py::test_only_what_needs_somebody",),
    ),
    Entry(
        "the watch leaves the terminal on its other screen",
        (
            Change(
                "cronguard/cli/status/watching.py",
                "        _write(_LEAVE)\n        for number",
                "        for number",
            ),
        ),
        ("tests/cli/test_cli_status.py::test_watch_leaves_the_terminal_clean",),
    ),
    Entry(
        "the limit of a history counts runs that were not asked for",
        (
            Change(
                "cronguard/stores/sqlite/store.py",
                """where += f" AND status IN""",
                """pass  # f" AND status IN""",
            ),
            Change("cronguard/stores/sqlite/store.py", "values += statuses", "pass"),
        ),
        ("tests/cli/test_cli_history.py::test_history_of_one_status",),
    ),
    Entry(
        "a date of --since is one of UTC",
        (
            Change(
                "cronguard/cli/output/times.py",
                "since = since.replace(tzinfo=zone)",
                "since = since.replace(tzinfo=UTC)",
            ),
        ),
        (
            "tests/cli/test_cli_history.py::test_history_since",
            "tests/cli/test_cli_output.py::test_since_is_a_duration_or_a_date",
        ),
    ),
    Entry(
        "a long delivery shows no progress",
        (
            Change(
                "cronguard/cli/commands/deliver.py",
                "                advance(len(done), total)",
                "                pass",
            ),
        ),
        ("tests/cli/test_cli_upkeep.py::test_a_long_delivery_is_seen_on_a_terminal",),
    ),
    Entry(
        "a line for the shell is told to set PATH",
        (
            Change(
                "cronguard/cli/run/unstarted.py",
                'elif " " in name:',
                "elif False:",
            ),
        ),
        ("tests/cli/test_mistakes.py::test_a_command_that_cannot_start_is_one_line",),
    ),
    Entry(
        "guard as a decorator says nothing of what to write",
        (
            Change(
                "cronguard/guarding/context_manager.py",
                "    def __call__(self,",
                "    def refuse(self,",
            ),
        ),
        ("tests/cli/test_mistakes.py::test_a_mistake_in_code_is_one_line",),
    ),
    Entry(
        "every distribution is another one",
        (
            Change(
                "cronguard/cli/doctor/installed.py",
                'if not name or re.sub(r"[-_.]+", "-", name).lower() == DISTRIBUTION:',
                "if not name:",
            ),
        ),
        ("tests/cli/test_installed_beside.py::test_this_environment_has_nothing_to_say",),
    ),
    Entry(
        "a command gets what its group got from us as well",
        (
            Change(
                "cronguard/cli/run/forwarding.py",
                "        if not self._helper.has_received(each.number):\n            return False",
                "        return False",
            ),
        ),
        (
            "tests/cli/test_cli_run.py::test_what_the_group_got_is_not_passed_on",
            "tests/cli/test_cli_run.py::test_one_after_the_other_is_one_event",
        ),
    ),
    Entry(
        "each signal is judged at once",
        (
            Change(
                "cronguard/cli/run/forwarding.py",
                "_SAME_EVENT_SECONDS = 0.1",
                "_SAME_EVENT_SECONDS = 0.0",
            ),
        ),
        ("tests/cli/test_cli_run.py::test_a_signal_is_judged_a_moment_after_it_came",),
    ),
    Entry(
        "a command outside of our group misses what is meant for it",
        (
            Change(
                "cronguard/cli/run/forwarding.py",
                "return self._is_in_our_group() or",
                "return True or",
            ),
        ),
        ("tests/cli/test_cli_run.py::test_a_command_that_has_left_the_group",),
    ),
    Entry(
        "a signal after the end of a command replaces its exit code",
        (
            Change(
                "cronguard/cli/run/guarded_command.py",
                "        leave_interrupted(code)",
                "        leave_interrupted(130)",
            ),
        ),
        ("tests/cli/test_cli_run.py::test_a_signal_after_the_end_changes_no_exit_code",),
    ),
    Entry(
        "nobody reads what comes after the end of a command",
        (
            Change(
                "cronguard/cli/run/helper.py",
                "            requests = None\n",
                "            return\n",
            ),
        ),
        (
            "tests/cli/test_cli_run.py::test_what_those_left_behind_write_is_not_lost",
            "tests/cli/test_cli_run.py::test_the_wrapper_alone_is_killed",
        ),
    ),
    Entry(
        "the wrapper owns the run",
        (
            Change(
                "cronguard/cli/run/child.py",
                "            stand_for(self._command.pid)\n",
                "            pass\n",
            ),
        ),
        (
            "tests/cli/test_cli_run.py::test_the_wrapper_alone_is_killed",
            "tests/cli/test_cli_run.py::test_the_command_owns_the_run",
        ),
    ),
    Entry(
        "a run whose end is being recorded has crashed",
        (
            Change(
                "cronguard/process/identity.py",
                "    return zombie and not _is_run_command(parent)",
                "    return zombie",
            ),
        ),
        ("tests/cli/test_cli_run.py::test_a_run_that_is_being_recorded_has_not_crashed",),
    ),
    Entry(
        "a held command runs although its wrapper was killed",
        (
            Change(
                "cronguard/cli/run/held.py",
                "        if not said.endswith(_END):\n            os._exit(0)\n",
                "",
            ),
        ),
        ("tests/cli/test_cli_run.py::test_the_wrapper_is_killed_before_the_start_is_recorded",),
    ),
    Entry(
        "the first process of a container leaves zombies",
        (
            Change(
                "cronguard/cli/run/child.py",
                "            _reap_orphans(pid)",
                "            pass",
            ),
        ),
        ("tests/cli/test_cli_run.py::test_the_first_process_of_a_container_reaps",),
    ),
    Entry(
        "an unknown option takes no word with it",
        (
            Change(
                "cronguard/cli/run/options.py",
                "            del self._left[0]",
                "            pass",
            ),
        ),
        ("tests/cli/test_cli_run_options.py::test_what_is_wrong_before_the_dashes_is_left_out",),
    ),
    Entry(
        "an unknown option takes the name of the job with it",
        (
            Change(
                "cronguard/cli/run/options.py",
                "        if self._jobs or any(",
                "        if True or any(",
            ),
        ),
        ("tests/cli/test_cli_run_options.py::test_what_is_wrong_before_the_dashes_is_left_out",),
    ),
    Entry(
        "an unhandled Ctrl-C is forgotten",
        (
            Change(
                "cronguard/process/signals.py",
                '            exec("raise KeyboardInterrupt")',
                '            exec("1")',
            ),
        ),
        (
            "tests/guarding/test_guard_signals.py::test_ctrl_c_while_a_thread_compiles_text",
            "tests/guarding/test_guard_signals.py::test_ctrl_c_while_an_alert_is_on_its_way",
        ),
    ),
    Entry(
        "a schedule on the line of cronguard run is in UTC",
        (
            Change(
                "cronguard/cli/run/guarded_command.py",
                "zone = host_zone(os.environ)",
                'zone = "UTC" if host_zone else None',
            ),
        ),
        ("tests/cli/test_cli_run_zone.py::test_a_schedule_is_in_the_zone_of_the_host",),
    ),
    Entry(
        "a schedule is stated without its mistyped time zone",
        (
            Change(
                "cronguard/settings/options.py",
                'if "timezone" in unclear and',
                'if "nothing" in unclear and',
            ),
        ),
        ("tests/cli/test_cli_run_zone.py::test_a_mistaken_zone_makes_nobody_late",),
    ),
    Entry(
        "no line of a crontab is wrong",
        (
            Change(
                "cronguard/cli/doctor/crontab.py",
                "if plan[:2] == starts[:2] or _meets(starts, plan):",
                "if plan[:2] == starts[:2] or _meets(plan, plan):",
            ),
        ),
        ("tests/cli/test_cli_doctor_crontab.py::test_a_line_that_is_not",),
    ),
    Entry(
        "why a command could not be started is masked",
        (Change("cronguard/cli/run/guarded_command.py", "keep=kept)", "keep=())"),),
        ("tests/cli/test_mistakes.py::test_a_command_that_cannot_start_is_one_line",),
    ),
    Entry(
        "a mistyped store says not where runs are kept",
        (
            Change(
                "cronguard/settings/loading.py",
                'notes.problems[-1] += f"; until then {used}"',
                "used = used",
            ),
        ),
        ("tests/cli/test_mistakes.py::test_a_mistaken_store_says_where_runs_are_kept",),
    ),
    Entry(
        "a file beside the job hides a package",
        (
            Change(
                "cronguard/process/hidden.py",
                "if name not in PACKAGES or _hides_package(",
                "if name not in PACKAGES and _hides_package(",
            ),
        ),
        ("tests/system/test_hidden_modules.py::test_a_package_is_hidden",),
    ),
    Entry(
        "options are checked with the program's own zoneinfo",
        (
            Change(
                "cronguard/settings/options.py",
                "    with own_modules():",
                "    if own_modules:",
            ),
        ),
        ("tests/system/test_hidden_modules.py::test_a_module_that_only_some_options_need",),
    ),
)
