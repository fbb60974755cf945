"""What is set."""

from ..runner import Change, Entry

THIRD_PARTIES = "tests/settings/test_third_party_channels.py"

ENTRIES = (
    Entry(
        "the file that CRONGUARD_CONFIG names may hold secrets",
        (
            Change(
                "cronguard/settings/file.py",
                "Layer(path.name, table, is_file=True)",
                "Layer(path.name, table, is_file=False)",
            ),
        ),
        ("tests/settings/test_settings.py::test_a_named_file_is_a_file_as_any",),
    ),
    Entry(
        "each variable that nothing reads is looked at",
        (
            Change(
                "cronguard/settings/channels.py",
                "own = [each for each in self._variables if each.startswith(every)]",
                "own = [each for each in self._variables if variable(each, each)]",
            ),
        ),
        (f"{THIRD_PARTIES}::test_a_variable_that_nothing_reads_costs_nothing",),
    ),
    Entry(
        "the command line has a default of its own",
        (
            Change(
                "cronguard/cli/run/command.py",
                "        default=None,\n",
                "        default=default,\n",
            ),
        ),
        ("tests/settings/test_options.py::test_the_command_line_is_the_table",),
    ),
    Entry(
        "an option is not typed",
        (
            Change(
                "cronguard/settings/options.py",
                "        runbook: str | None\n        test_mode: bool\n",
                "        test_mode: bool\n",
            ),
        ),
        ("tests/settings/test_options.py::test_types_are_those_of_the_table",),
    ),
)
