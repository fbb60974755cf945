"""The house: floors and circles, the text that a newcomer reads first, the name."""

from ..runner import Change, Entry

OTHER = "cronguard"
"""The other distribution's name; put in, so that no text here leads to it."""
FACE = "cronguard/__init__.py"
INSTALL = "tests/core/test_install.py"
PLAN = "tests/system/test_architecture.py"
ONE_RUN = "tests/system/test_one_run.py"

ENTRIES = (
    Entry(
        "a function imports from a floor above",
        (
            Change(
                "cronguard/core/alert_rule.py",
                "    return until is not None and until > now\n",
                "    from cronguard.runtime.watchdog import Watchdog\n\n"
                "    return until is not None and until > now and Watchdog is not None\n",
            ),
        ),
        (f"{PLAN}::test_imports_go_down",),
    ),
    Entry(
        "a module imports from a floor above, for types only",
        (
            Change(
                "cronguard/stores/sqlite/views.py",
                "from typing import Any, NamedTuple\n",
                "from typing import TYPE_CHECKING, Any, NamedTuple\n\n"
                "if TYPE_CHECKING:\n    from cronguard.settings.options import JobConfig\n",
            ),
        ),
        (f"{PLAN}::test_imports_go_down",),
    ),
    Entry(
        "two modules of one package import each other, for types only",
        (
            Change(
                "cronguard/runtime/watchdog.py",
                "from collections.abc import Callable\n",
                "from collections.abc import Callable\nfrom typing import TYPE_CHECKING\n\n"
                "if TYPE_CHECKING:\n    from cronguard.runtime.runtime import Runtime\n",
            ),
        ),
        (f"{PLAN}::test_no_module_imports_itself_in_a_circle",),
    ),
    Entry(
        "two steps of the text of one run are swapped",
        (
            Change(FACE, " 2. ``guarding/call.py``", " 2. ``guarding/recording.py``"),
            Change(FACE, " 3. ``guarding/recording.py``", " 3. ``guarding/call.py``"),
        ),
        (f"{ONE_RUN}::test_the_files_of_a_failing_run_are_those_of_the_text",),
    ),
    Entry(
        "the text of one run names a file that no such run enters",
        (Change(FACE, "``stores/sqlite/outbox.py``", "``stores/sqlite/views.py``"),),
        (f"{ONE_RUN}::test_the_files_of_a_failing_run_are_those_of_the_text",),
    ),
    Entry(
        "the text forgets a package",
        (Change(FACE, "    privacy    what may leave", "    and what may leave"),),
        (f"{ONE_RUN}::test_the_packages_of_the_text_are_those_of_the_house",),
    ),
    Entry(
        "the hint of an extra names what pip cannot find yet",
        (
            Change(
                "cronguard/core/install.py",
                '_PIP_TARGET = "."',
                '_PIP_TARGET = "cron-guarded"',
            ),
        ),
        (
            f"{INSTALL}::test_each_hint_is_the_end_of_a_message",
            f"{INSTALL}::test_what_people_copy_is_the_command",
        ),
    ),
    Entry(
        "a message spells a hint of its own",
        (
            Change(
                "cronguard/stores/sqlite/connections.py",
                "({how_to_upgrade()})",
                "(run python -m pip install . there)",
            ),
        ),
        (f"{INSTALL}::test_hints_come_from_one_place",),
    ),
    Entry(
        "dev asks for the other distribution",
        (Change("pyproject.toml", 'dev = ["cron-guarded[', f'dev = ["{OTHER}['),),
        (f"{INSTALL}::test_no_requirement_names_the_other_distribution",),
    ),
    Entry(
        "our own distribution is looked up under the other's name",
        (
            Change(
                "cronguard/settings/plugins.py",
                "{version(DISTRIBUTION)}",
                f"{{version('{OTHER}')}}",
            ),
        ),
        (f"{INSTALL}::test_the_distribution_has_the_name_that_is_looked_up",),
    ),
)
