"""What is set."""

from ..runner import Change, Entry

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
)
