# ruff: noqa: E501  # a sentence a line
"""What jobs say in sentences of their own: f-strings with facts in them, and with people.

Each sentence is a program of its own. A value that is called ``who…`` is somebody's and must not be
shown; every other one is a fact that whoever is on call needs. A ``CONSTANT = …`` in front is a
line of the program, as in a script.
"""

from __future__ import annotations

import string
import types
from dataclasses import dataclass

from support.corpus import Case


@dataclass
class Sentence:
    """An error with its facts; ``case.values`` are the private ones."""

    case: Case
    facts: list[str]


_FACTS = [
    ("API returned {status}", {"status": 503}),
    ("billing API answered {status} after {tries} tries", {"status": 401, "tries": 3}),
    ("{failed} of {total} reminders failed", {"failed": 3, "total": 40}),
    ("disk is {share}% full", {"share": 97}),
    ("no answer from the upstream within {seconds}s", {"seconds": 30}),
    ("upstream took {took} ms, more than the {limit} ms allowed", {"took": 950, "limit": 500}),
    ("queue depth {depth} exceeds limit {limit}", {"depth": 812, "limit": 500}),
    ("expected {wanted} rows, got {got}", {"wanted": 12, "got": 0}),
    ("job exited with code {code}", {"code": 137}),
    ("backup is only {size} MB, expected at least {least} MB", {"size": 12, "least": 800}),
    ("got HTTP {status} from the payment provider", {"status": 429}),
    ("unexpected status {status} for page {page}", {"status": 500, "page": 7}),
    ("import stopped at line {line}", {"line": 4812}),
    ("could not connect to port {port}", {"port": 5432}),
    ("retry {n} of {most} failed", {"n": 5, "most": 5}),
    ("batch {n} has {rows} rows, limit is {limit}", {"n": 4, "rows": 12000, "limit": 10000}),
    ("certificate expires in {days} days", {"days": 6}),
    ("lag is {seconds} seconds", {"seconds": 184}),
    ("table {table} is empty", {"table": "orders"}),
    ("missing columns: {columns}", {"columns": ["amount", "due_date"]}),
    ("missing environment variable {name}", {"name": "REPORT_BUCKET"}),
    ("missing setting {name!r}", {"name": "smtp_host"}),
    ("no rows in {schema}.{table}", {"schema": "public", "table": "order_items"}),
    ("memory use {share:.0f}% of {limit} GB", {"share": 93.4, "limit": 16}),
    ("Bare {sent} av {total} varsler ble sendt", {"sent": 12, "total": 40}),
    ("Nur {n} von {total} Rechnungen verschickt", {"n": 1, "total": 9}),
    ("worker {n} died with {name}", {"n": 2, "name": "SIGKILL"}),
    ("checksum mismatch: {n} files differ", {"n": 17}),
    ("{count} messages stuck in queue {queue}", {"count": 55, "queue": "emails"}),
    ("sync failed: {added} added, {dropped} dropped", {"added": 0, "dropped": 210}),
    ("response had {n} items, page size is {size}", {"n": 101, "size": 100}),
    ("rate limit reached, retry after {seconds}s", {"seconds": 60}),
    ("feed {feed} returned {status} {reason}", {"feed": "prices", "status": 404, "reason": "Gone"}),
    ("inventory sync: warehouse answered {answer}", {"answer": '{"error": "not_in_service"}'}),
    ("slack said {error}", {"error": "channel_not_found"}),
    ("migration {version} is missing", {"version": "0042_add_index"}),
    ("unsupported file version {version}", {"version": "2.3"}),
    ("exchange rate {rate} is out of bounds", {"rate": 0.0}),
    ("only {free} GB free on {mount}", {"free": 2, "mount": "/var"}),
    ("growth of {share}% is implausible", {"share": 340}),
    ("temperature reading {value} below {least}", {"value": -40, "least": -30}),
    ("timeout after {seconds} seconds, {done}/{total} done", {"seconds": 900, "done": 12, "total": 80}),
    ("no heartbeat for {minutes} minutes", {"minutes": 45}),
    ("lock {name} is held since {minutes} min", {"name": "nightly_export", "minutes": 12}),
    ("price list has {n} duplicates", {"n": 4}),
    ("schema version {found}, expected {wanted}", {"found": 7, "wanted": 9}),
    ("webhook rejected with {status}: {code}", {"status": 422, "code": "invalid_signature"}),
    ("column {column} has {n} empty values", {"column": "price", "n": 33}),
    ("cannot parse {field} in row {row}", {"field": "due_date", "row": 42}),
    ("stage {stage} failed", {"stage": "transform"}),
    ("replication slot {slot} is inactive", {"slot": "replica_1"}),
    ("command ended with exit code {code}", {"code": 2}),
    ("{n} jobs are late", {"n": 8}),
    ("quota used up: {used} of {quota} requests", {"used": 1000, "quota": 1000}),
]  # fmt: skip

_MIXED = [
    ("could not notify {who} after {n} tries", {"who": "Kari Nordmann", "n": 3}),
    ("mail to {who} bounced with {code}", {"who": "kari@example.com", "code": 550}),
    ("invoice for {who} rejected: status {status}", {"who": "Page, Anna", "status": 422}),
    ("{n} reminders to {who} failed", {"n": 2, "who": "Mark Long"}),
    ("user {who} has {n} open orders, limit is {limit}", {"who": "grace_page", "n": 12, "limit": 10}),
    ("phone {who} refused by gateway, status {status}", {"who": "+47 912 34 567", "status": 400}),
    ("{who} is not in table {table}", {"who": "Price, Field", "table": "members"}),
    ("payment of {who} failed with {code}", {"who": "4111 1111 1111 1111", "code": "card_declined"}),
    ("sms to {who} timed out after {n}s", {"who": "91234567", "n": 30}),
    ("no bed for patient {who} in ward {ward}", {"who": "01017012345", "ward": 4}),
    ("Fant ikke {who}, forsøk {n}", {"who": "Check Service", "n": 2}),
    ("sync of {who} failed: {status}", {"who": "Storgata 5, 0155 Oslo", "status": 504}),
]  # fmt: skip

_FRONT = {
    "REPORT_BUCKET": 'NEEDED = ("REPORT_BUCKET", "SMTP_HOST")\n',
    "replica_1": 'SLOT = "replica_1"\n',
    "order_items": 'TABLES = ("order_items", "members", "orders")\n',
    "amount": 'COLUMNS = ["amount", "due_date", "price"]\n',
    "orders": 'TABLES = ("orders", "members")\n',
    "members": 'TABLES = ("orders", "members")\n',
    "smtp_host": 'NEEDED = ("smtp_host", "smtp_port")\n',
    "nightly_export": 'LOCK = "nightly_export"\n',
    "emails": 'QUEUES = {"emails": 1, "sms": 2}\n',
    "due_date": 'FIELDS = ["price", "due_date"]\n',
    "price": 'FIELDS = ["price", "due_date"]\n',
    "transform": 'STAGES = ["extract", "transform", "load"]\n',
    "prices": 'FEEDS = {"prices": 1}\n',
    "db.internal": 'HOST = "db.internal"\n',
}
"""Values that stand in the program too, as such names do."""


def sentences():
    """Each sentence as an error that a script of its own raised."""
    return listed([*_FACTS, *_MIXED])


def listed(said):
    """The same of a list of ``(template, values)``."""
    for template, values in said:
        words = [word for value in values.values() for word in _words(value)]
        yield sentence(
            template, values, "".join({_FRONT[each] for each in map(str, words) if each in _FRONT})
        )


def sentence(template, values, front=""):
    """The sentence as an error of a script that begins with ``front``."""
    source = (
        f"{front}def job({', '.join(values)}):\n    raise RuntimeError(f{template!r})\n"
        "try:\n    job(**values)\nexcept RuntimeError as raised:\n    error = raised\n"
    )
    module = types.ModuleType("job")
    vars(module).update(values=values)
    exec(compile(source, "job.py", "exec"), vars(module))
    private, facts = [], []
    for _, name, form, _ in string.Formatter().parse(template):
        if name:
            found = private if name.startswith("who") else facts
            value = values[name.removesuffix("=")]
            found += [format(word, form) if form else str(word) for word in _words(value)]
    return Sentence(Case(module.error, str(module.error), private, template), facts)


def _words(value):
    return value if isinstance(value, list) else [value]
