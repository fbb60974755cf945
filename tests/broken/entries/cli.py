"""What people see."""

from ..runner import Change, Entry

ENTRIES = (
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
)
