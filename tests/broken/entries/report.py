"""The page of all jobs."""

from ..runner import Change, Entry

_CONTENTS = "tests/cli/test_report_contents.py::"
_PAGE = "tests/cli/test_report_page.py::"

ENTRIES = (
    Entry(
        "a row's markup becomes the page's",
        (Change("cronguard/cli/report/page.py", "autoescape=True", "autoescape=False"),),
        ("tests/cli/test_report.py::test_hostile_text_is_text",),
    ),
    Entry(
        "any address is a link to the runbook",
        (
            Change(
                "cronguard/cli/report/contents.py",
                "expected.runbook if _LINK.fullmatch(expected.runbook) else None",
                "expected.runbook",
            ),
        ),
        (f"{_CONTENTS}test_runbook_that_is_no_https_link",),
    ),
    Entry(
        "an alert that was given up leaves its job among those that are well",
        (
            Change(
                "cronguard/cli/report/contents.py",
                "each.state in WRONG or needs_attention(each, axis.now)",
                "each.state in WRONG",
            ),
        ),
        (
            f"{_CONTENTS}test_worst_first_and_snoozed_last",
            f"{_CONTENTS}test_an_alert_that_does_not_go_out",
        ),
    ),
    Entry(
        "a lane calls a time missed within its grace",
        (Change("cronguard/cli/report/lanes.py", "when + grace > axis.now", "when > axis.now"),),
        (f"{_CONTENTS}test_lane_misses_nothing_too_soon",),
    ),
    Entry(
        "a lane tells apart what touches",
        (Change("cronguard/cli/report/lanes.py", "_CLOSE = 3.0", "_CLOSE = 0.0"),),
        (f"{_CONTENTS}test_lane_joins_what_would_touch",),
    ),
    Entry(
        "an old page says that all is well",
        (Change("cronguard/cli/report/report.js", "if (minutes < 60) return;", "return;"),),
        (f"{_PAGE}test_an_old_page_says_so",),
    ),
    Entry(
        "what is wrong prints its whole history",
        (
            Change(
                "cronguard/cli/report/report.css",
                "section.job tbody tr:nth-child(n + 6) { display: none; }",
                "html { font-size: 14px; }",
            ),
        ),
        (f"{_PAGE}test_prints_on_a_few_pages",),
    ),
    Entry(
        "runs of a job are told of by the one that was read last",
        (
            Change(
                "cronguard/stores/sqlite/activity.py",
                "known[1], known[2] = min(known[1], start),",
                "known[1], known[2] = start,",
            ),
        ),
        ("tests/stores/test_contract.py::TestSQLiteStore::test_activity_tells_of_runs_together",),
    ),
)
