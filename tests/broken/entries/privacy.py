"""What is read of an error."""

from ..runner import Change, Entry

ENTRIES = (
    Entry(
        "any built-in error is read where it was raised",
        (
            Change(
                "cronguard/privacy/capture.py",
                "        if type(each) not in _BUILT_IN or len(each.args) > _MOST_ARGUMENTS:",
                '        if type(each).__module__ == "builtins":\n            return True\n'
                "        if type(each) not in _BUILT_IN or len(each.args) > _MOST_ARGUMENTS:",
            ),
        ),
        ("tests/privacy/test_capture.py::test_other_errors_get_their_time_in_a_thread",),
    ),
)
