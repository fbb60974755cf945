"""What is expected of a job, in Python and in SQL, held by random histories on every store."""

from ..runner import Change, Entry

RULES = "cronguard/core/expectations.py"
STARTING = "cronguard/stores/sqlite/starting.py"
OUTBOX = "cronguard/stores/sqlite/outbox.py"
SQL = "cronguard/stores/sql/postgres/functions"
HISTORY = "tests/stores/test_histories.py::test_a_history"
IN_PYTHON = (f"{HISTORY}_in_memory", f"{HISTORY}_on_sqlite")
ON_SERVER = (f"{HISTORY}_on_a_server",)


CASES = "tests/stores/test_contract.py::TestSQLiteStore"
CASES_ON_SERVER = "tests/stores/test_contract_sql.py::TestPostgresStore"
STANDS = "test_a_declared_schedule_stands"


def _python(
    name: str, old: str, new: str, *, file: str = RULES, tests: tuple[str, ...] = IN_PYTHON
) -> Entry:
    return Entry(f"in Python: {name}", (Change(file, old, new),), tests)


def _sql(name: str, file: str, old: str, new: str, *, tests: tuple[str, ...] = ON_SERVER) -> Entry:
    return Entry(f"in SQL: {name}", (Change(f"{SQL}/{file}.sql", old, new),), tests)


ENTRIES = (
    _python(
        "code without a schedule takes back the one of settings",
        '    if _gives_no_schedule(stated) and _origin(known, "schedule") == "settings":',
        "    if False:",
        tests=(f"{CASES}::{STANDS}",),
    ),
    _python(
        "a declaration goes before what a start states",
        "            if each.name not in known.sources\n",
        "            if True\n",
        tests=(f"{CASES}::{STANDS}",),
    ),
    _python(
        "a declaration that changed does not count",
        "            or is_news(each)\n",
        "",
    ),
    _python(
        "nobody knows since when",
        "values[name] != value or before.origin != origin:",
        "True:",
    ),
    _python(
        "a start by hand sends the job's crashes to its own channels",
        "    swept = job._replace(channels=job.channels or run.channels)\n",
        "    swept = job._replace(channels=run.channels or job.channels)\n",
        file=STARTING,
    ),
    _python(
        "alerts in the order of the clock",
        "ORDER BY rowid DESC LIMIT ?",
        "ORDER BY created_at DESC, rowid DESC LIMIT ?",
        file=OUTBOX,
    ),
    _sql(
        "code without a schedule takes back the one of settings",
        "common",
        "        and known.sources #>> '{schedule,origin}' = 'settings'\n",
        "        and false\n",
        tests=(f"{CASES_ON_SERVER}::{STANDS}",),
    ),
    _sql(
        "a skipped start states what is expected",
        "runs",
        "    if _status = 'running' then\n        _job := public.cronguard_restate",
        "    if true then\n        _job := public.cronguard_restate",
    ),
    _sql(
        "a declaration that changed does not count",
        "expected",
        "                then _last -> said.key is distinct from said.value -> 'value'\n",
        "                then false\n",
    ),
    _sql(
        "a schedule that changed is judged from where it was",
        "common",
        "        known.judged_until := _now;\n",
        "",
    ),
    _sql(
        "a crash is told to those of the start that finds it",
        "outcomes",
        "'channels', coalesce(_job.channels, request -> 'channels'),",
        "'channels', coalesce(request -> 'channels', _job.channels),",
    ),
    _sql(
        "a channel that is notified once is notified again",
        "common",
        "coalesce((each ->> 'realert_every')::integer, known.realert_every)",
        "coalesce(nullif((each ->> 'realert_every')::integer, 0), known.realert_every)",
        tests=(f"{CASES_ON_SERVER}::test_the_threshold_is_the_jobs",),
    ),
)
