"""What redaction keeps, what it masks, and that nothing makes it fail or take long."""

from __future__ import annotations

import importlib.util
import logging
import pkgutil
import subprocess
import sys
import time
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import Cli

from cronguard.privacy import redaction
from cronguard.privacy.capture import capture, capture_output
from cronguard.privacy.mask import MASK, clean
from cronguard.privacy.redaction import redact_error, redact_output, redact_text
from cronguard.privacy.vocabulary import read_data, vocabulary
from cronguard.privacy.words import keep_of

pytestmark = pytest.mark.one_python

SECRETS = [
    "sk_live_51Habcdefghijklmnop",
    "xoxb-123456789012-abcdefGHIJKL",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXX",
    "postgresql://app:hunter2@db.internal/app",
    "kari.nordmann@example.com",
    "+47 912 34 567",
    "01017012345",
    "NO93 8601 1117 947",
    "4111 1111 1111 1111",
    "10.20.30.40",
    "2001:db8::ff00:42:8329",
    "/home/kari/secret.txt",
    "password=hunter2",
    "api_key: k3y-v4lue",
    "token 9f86d081884c7d65",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
]


def raised(function, *args):
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


def compiled(source, **names):
    module = types.ModuleType("job")
    vars(module).update(names)
    exec(compile(source, "job.py", "exec"), vars(module))
    return module


def shown(source, *args, **names):
    """What is shown of the error of ``job`` in a program of its own."""
    return redact_error(raised(compiled(source, **names).job, *args))


# --- what the code wrote --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        'raise ValueError(f"Fant ikke {a} hos {b}, prøver igjen")',
        'raise ValueError("Fant ikke %s hos %s, prøver igjen" % (a, b))',
        'raise ValueError("Fant ikke {} hos {navn}, prøver igjen".format(a, navn=b))',
        'raise ValueError("Fant ikke " + a + " hos " + b + ", prøver igjen")',
        'raise ValueError("Fant ikke %(a)s hos %(b)s, prøver igjen" % dict(a=a, b=b))',
    ],
)
def test_the_sentence_is_kept_and_its_values_are_not(line):
    """In any language: the words are the code's, however the values came in."""
    assert shown(f"def job(a, b):\n    {line}", "Kari Nordmann", "Åse Ås") == (
        f"Fant ikke {MASK} hos {MASK}, prøver igjen"
    )


def test_sentences_of_called_functions_and_classes_are_known():
    """A message may be made by a helper, or by the exception's class."""
    source = """
class AvtaleFeil(Exception):
    def __str__(self):
        return f"Ingen svar fra {self.args[0]} i dag"

def melding(a):
    return f"Melding til {a} kom tilbake"

def job(kind, a):
    if kind == "helper":
        raise ValueError(melding(a))
    raise AvtaleFeil(a)
"""
    assert shown(source, "helper", "Kari") == f"Melding til {MASK} kom tilbake"
    assert shown(source, "class", "Kari") == f"Ingen svar fra {MASK} i dag"


def imported(folder, name, source):
    """A module as a job has it: a file that was imported."""
    (folder / f"{name}.py").write_text(source, "utf-8")
    found = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_constant_counts_if_the_module_has_it(tmp_path, monkeypatch):
    """A template and names that stand in the file; not what a global got when the program ran."""
    monkeypatch.setenv("CUSTOMER", "Kari Nordmann")
    monkeypatch.setenv("TENANT", "nordmann_as")
    source = """
import os

TEMPLATE = "Avtalen med {} falt bort"
FOLDED = ("Ingen svar fra {}"
    " denne uken")
COLUMNS = ["beløp", "forfall"]
CUSTOMER = os.environ["CUSTOMER"]
TENANT = os.environ["TENANT"]
READ = "Møte med " + CUSTOMER + " i morgen"
NAMES = [CUSTOMER, TENANT]

def job(kind, a=""):
    text = {"template": TEMPLATE, "folded": FOLDED, "read": READ}.get(kind)
    if text:
        raise ValueError(text.format(a))
    if kind == "columns":
        raise ValueError(f"missing columns: {COLUMNS}")
    if kind == "names":
        raise ValueError(f"no invoices for: {NAMES}")
    raise ValueError(f"no invoice for {CUSTOMER} of {TENANT}")
"""
    job = imported(tmp_path, f"avtaler_{tmp_path.name}".replace("-", "_"), source).job
    said = {kind: redact_error(raised(job, kind, "Kari")) for kind in
            ("template", "folded", "read", "columns", "names", "")}  # fmt: skip
    assert said["template"] == f"Avtalen med {MASK} falt bort"
    assert said["folded"] == f"Ingen svar fra {MASK} denne uken"
    assert said["columns"] == "missing columns: ['beløp', 'forfall']"
    assert said["names"] == f"no invoices for: ['{MASK}', '{MASK}']"
    assert said["read"] == MASK
    assert said[""] == f"no invoice for {MASK} of {MASK}"


def test_a_value_is_masked_even_if_its_words_are_known():
    """Where the sentence is the code's, its holes are values, whatever stands in them."""
    source = 'def job(a):\n    raise ValueError(f"could not notify {a} today")'
    remark = "he said that she was not able to answer and would not be at home for a long time"
    for name in ("Mark Long", "grace page", "server error", "in", "1234", "The Server", remark):
        assert shown(source, name) == f"could not notify {MASK} today"


@pytest.mark.parametrize(
    ("sentence", "values", "expected"),
    [
        ("found {0:,} of {1:,} rows there", (1204, 12300), "found 1,204 of 12,300 rows there"),
        ("read {0}/{1} pages so far", (12, 80), "read 12/80 pages so far"),
        (
            "line {0} took {1:.2f}s (limit {2}s)",
            (1204, 12.533, 10),
            "line 1204 took 12.53s (limit 10s)",
        ),
        ("disk at {0:.1f} %, limit {1} %", (91.34, 90), "disk at 91.3 %, limit 90 %"),
        ("too few sign-ups: {0} < {1}", (3, 10), "too few sign-ups: 3 < 10"),
        (
            "schema mismatch: expected v{0}, got v{1}",
            (12, 9),
            "schema mismatch: expected v12, got v9",
        ),
        ("no doctor in {0} today", (1204,), f"no doctor in {MASK} today"),
        ("no doctor for {0} users", ("0155",), f"no doctor for {MASK} users"),
        ("card of {0} ran out", ("12/28",), f"card of {MASK} ran out"),
        ("pin was wrong ({0}s)", ("0155",), f"pin was wrong ({MASK})"),
        ("moved to {0}, {1} rooms", ("7,204", "Kari"), f"moved to {MASK} rooms"),
    ],
)
def test_a_larger_number_is_shown_beside_what_it_counts(sentence, values, expected):
    """Thousands and shares of rows or seconds are facts; the same digits elsewhere are data."""
    source = f"def job(*values):\n    raise ValueError({sentence!r}.format(*values))"
    assert shown(source, *values) == expected


_PLACES = """
BASE = "https://api.partner.example/v2"

def job(kind, a=""):
    if kind == "path":
        open(f"/srv/exports/{a}/customers.csv")
    if kind == "secret":
        raise ValueError(f"cannot log in at https://{a}:pw@api.partner.example/x, nor {BASE}")
    if kind == "mail":
        raise ValueError(f"no such mailbox: {a}@api.partner.example")
    if kind == "home":
        open("/home/kari/customers.csv")
    raise ValueError(f"no answer from {BASE}/customers/{a} to {a}")
"""


def test_hosts_and_paths_of_the_code_are_shown(tmp_path):
    """Which service, which file: as far as it stands in the code, and nothing of what is secret."""
    job = imported(tmp_path, f"places_{tmp_path.name}".replace("-", "_"), _PLACES).job
    said = {
        kind: redact_error(raised(job, kind, "kari"))
        for kind in ("host", "path", "secret", "mail", "home")
    }
    missing = "[Errno 2] No such file or directory: "
    assert (
        said["host"]
        == f"no answer from https://api.partner.example{MASK}/customers/{MASK} to {MASK}"
    )
    assert said["path"] == f"{missing}'/srv/exports/{MASK}/customers.csv'"
    assert said["secret"] == f"cannot log in at {MASK} nor https://api.partner.example{MASK}"
    assert said["mail"] == f"no such mailbox: {MASK}"
    assert said["home"] == f"{missing}'{MASK}/customers.csv'"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('["pg_restore", a]', f"Command '['pg_restore'{MASK}]' returned non-zero exit status 3."),
        ("[a, a]", f"Command '['{MASK}'{MASK}]' returned non-zero exit status 3."),
        ('"pg_dump -Fc all"', "Command 'pg_dump -Fc all' returned non-zero exit status 3."),
        ('f"pg_restore {a}"', f"Command {MASK} returned non-zero exit status 3."),
    ],
)  # fmt: skip
def test_the_program_of_a_command_is_shown(command, expected):
    """Which program failed, not what it was given."""
    source = (
        f"import subprocess\ndef job(a):\n    raise subprocess.CalledProcessError(3, {command})"
    )
    assert shown(source, "kari") == expected


@pytest.mark.parametrize(
    "text",
    ["Invalid recipient: {}", "<name>{}</name>", "line 7: 1;{};2", "value too long (10): {}",
     "recipient={} status=bounced", "no such user '{}'"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["PANIC", "GB", "The", "Every"])
def test_a_word_alone_between_signs_is_a_value(text, name):
    """Whatever the word means elsewhere: people are called so, and nothing follows it."""
    assert name not in redact_text(text.format(name))


def test_a_sentence_in_quotes_is_a_value():
    """What a `KeyError` shows is its key, even if that is a remark in everyday words."""
    remark = "the child has no contact with its family"
    assert shown("def job(a):\n    return {}[a]", remark) == f"'{MASK}'"


def test_a_code_in_a_document_has_a_known_word():
    """``users_not_found`` is a code, ``kari_nordmann`` somebody."""
    text = '{"error": "users_not_found", "type": "kari_nordmann"}'
    assert redact_text(text) == f'{{"error": "users_not_found", "type": "{MASK}"}}'


def test_tables_and_columns_of_the_codes_own_statements_are_names():
    """A statement in the code vouches for its tables and columns, not for its values."""
    source = """
def job():
    query = "select påminnet, mottaker_navn from utsendelser where eier = 'kari'"
    raise ValueError('relation "utsendelser" has no "mottaker_navn" for "kari"')
""".replace("raise ValueError('", "raise ValueError(text) #")
    text = 'relation "utsendelser" does not exist, nor "mottaker_navn" of "kari"'
    assert shown(source, text=text) == (
        f'relation "utsendelser" does not exist, nor "mottaker_navn" of "{MASK}"'
    )


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_the_code_is_no_literal_to_be_kept(secret):
    """Hard-coded keys, addresses and numbers are masked although the code wrote them."""
    source = f'def job():\n    raise ValueError("giving up on {secret} after a while")'
    text = shown(source)
    value = secret.split("=")[-1].split(": ")[-1].removeprefix("token ")
    assert value not in text
    assert text.startswith("giving up on")
    assert text.endswith("after a while")


def test_a_full_name_in_the_code_is_no_sentence():
    """A literal that looks like a person is taken for a value that was written down."""
    source = 'def job():\n    name = "{}"\n    raise ValueError(f"no answer from {{name}}")'
    for name in ("Kari Nordmann", "Anna van der Berg", "Storgata 5"):
        assert shown(source.format(name)) == f"no answer from {MASK}"


@pytest.mark.parametrize("name", ["grace", "mark", "rose"])
def test_a_variable_does_not_vouch_for_a_value(name):
    """A job may call a variable ``grace``; a key of that name is somebody all the same."""
    source = f"def job(a):\n    {name} = 5\n    raise KeyError(a)"
    assert shown(source, name) == f"'{MASK}'"


@pytest.mark.parametrize("name", ["row", "ROW"])
def test_a_variable_of_a_module_is_no_template(name):
    """A script's variables hold data, with braces and percent signs in it; in capitals too."""
    source = f"def job():\n    raise ValueError('bad row ' + {name})\n"
    assert shown(source, **{name: "no answer from Kari Nordmann, 50% discount"}) == (
        f"bad row {MASK}"
    )


@pytest.mark.parametrize("text", ["Mark Long", "Mark Long failed", "Mark Long is not in table 3"])
def test_a_piece_of_another_sentence_vouches_for_nothing(text):
    """``Mark`` of "Mark … as read" is a word there, and a name elsewhere."""
    source = """
def mark(x):
    return f"Mark {x} as read"

def job(a):
    if a == "Kari":
        raise ValueError(mark(a))
    raise ValueError(a)
"""
    assert "Mark" not in shown(source, text)
    assert shown(source, "Kari") == f"Mark {MASK} as read"


@pytest.mark.parametrize(
    "made",
    [
        "def go(): raise ValueError('no answer from Kari Nordmann today')",
        "def kari_nordmann(): raise KeyError('kari_nordmann')\ngo = kari_nordmann",
    ],
)
def test_code_made_at_run_time_is_not_trusted(made):
    """What is handed to `exec` may have been made of data: its literals and names are values."""
    names = {}
    exec(made, names)
    error = raised(names["go"])
    kept = capture(error, redact="scrub")
    assert "kari" not in f"{kept.error_message} {kept.error_location}".lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'Authorization': 'Bearer opaque token value'", f"'{MASK}': {MASK}"),
        ("Authorization: Bearer password", f"Authorization: {MASK}"),
        ("passphrase 'correct value' failed", f"passphrase {MASK} failed"),
        ("pin 123 failed", f"pin {MASK} failed"),
        ("invalid token 'line' at line 3", "invalid token 'line' at line 3"),
    ],
)
def test_a_labelled_secret_is_masked_whole(text, expected):
    """A secret of several words is masked to its last, whatever the words are."""
    assert redact_text(text) == expected


def test_a_violated_constraint_is_named_in_a_text_alone():
    """The database said its names itself, as ``psql`` prints them; the row's values stay masked."""
    text = (
        'new row for relation "patients" violates check constraint "patients_born_check"\n'
        "DETAIL:  Failing row contains (7, patients, Berg)."
    )
    shown = redact_output(text)
    assert '"patients" violates check constraint "patients_born_check"' in shown
    assert "Berg" not in shown
    assert "patients" not in redact_output('relation "patients" does not exist')


def test_a_class_named_after_somebody_is_not_shown_by_its_repr():
    """``repr`` of an error shows its class, which may have been made of data."""
    source = """
def job(a):
    try:
        raise type(a, (Exception,), {})("x")
    except Exception as error:
        raise ValueError(f"failed: {error!r}") from error
"""
    assert "Kari" not in shown(source, "Kari")


# --- codes, causes, groups, notes -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 111] Connection refused",
        "HTTP Error 404: Not Found",
        "upstream answered with status code 503",
        "{'code': '23505', 'message': 'violates unique constraint \"orders_pkey\"'}",
        "SQLSTATE 42P01: undefined table",
        "Command died with SIGKILL",
        "failed with ECONNREFUSED on port 5432",
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        'null value in column "user_id" of relation "orders" violates not-null constraint',
        "UNIQUE constraint failed: orders.customer_id",
        "Expecting value: line 1 column 1 (char 0)",
        "timed out after 30 seconds",
        "[Errno -2] Name or service not known",
        "Lock wait timeout exceeded; try restarting transaction",
        "Can't connect to the server",
        "{'message': 'No such container'}",
        "('Connection aborted.', ConnectionResetError('Connection reset by peer'))",
        "invalid_grant: Token has been expired or revoked.",
        "pg_dump: error: aborting because of server version mismatch",
        "sh: 1: node: not found",
        "can't compare offset-naive and offset-aware datetimes",
        "(sqlite3.OperationalError) database is locked",
        "Segmentation fault (core dumped)",
        "Killed",
        "failed in position 1: ordinal not in range(128)",
    ],
)
def test_codes_and_technical_messages_are_kept_whole(text):
    """Codes, constraint, table and column names are what one needs; nothing of them is eaten."""
    assert redact_text(text) == text


def test_the_errors_own_code_is_kept_wherever_it_stands():
    """An SQLSTATE that the exception carries is a code in its message too."""

    class DatabaseError(Exception):
        sqlstate = "23505"

    assert redact_error(DatabaseError("rejected 23505 for Kari")) == f"rejected 23505 for {MASK}"


def test_names_that_only_the_diagnostics_have_are_added():
    """psycopg keeps constraint and table apart from the text; people's names stay out."""

    class DatabaseError(Exception):
        diag = types.SimpleNamespace(
            constraint_name="orders_user_id_key", table_name="Kari Nordmann", column_name=None
        )

    assert redact_error(DatabaseError("cannot insert row")) == (
        "cannot insert row; constraint orders_user_id_key"
    )


def test_causes_contexts_members_and_notes_are_redacted_too():
    """Everything that hangs on the error is told, and treated alike."""
    source = """
def job(a):
    try:
        {}[a]
    except KeyError as error:
        error.add_note(f"while reading {a} from the sheet")
        failure = ExceptionGroup("nightly sync failed", [ValueError(a), OSError(28, a)])
        raise failure from error
"""
    text = shown(source, "Kari Nordmann")
    assert "Kari" not in text
    assert "Nordmann" not in text
    assert text.startswith("nightly sync failed (2 sub-exceptions)")
    assert f"caused by KeyError: '{MASK}'" in text
    assert f"note: while reading {MASK} from the sheet" in text
    assert "with ValueError" in text
    assert "with OSError: [Errno 28]" in text


def test_a_quoted_cause_is_told_once():
    """``f"… failed: {error}"`` shows the cause in its place, and not again at the end."""
    source = """
def job(a):
    try:
        int(a)
    except ValueError as error:
        raise RuntimeError(f"rad {a} hoppet over: {error}") from error
"""
    text = shown(source, "Kari")
    assert text == f"rad {MASK} hoppet over: invalid literal for int() with base 10: {MASK}"


def test_an_error_that_says_what_its_cause_said_says_it_once():
    """As requests does with urllib3's."""
    source = """
def job(a):
    try:
        raise ValueError(f"no answer from {a} today")
    except ValueError as error:
        raise RuntimeError(error)
"""
    assert shown(source, "Kari") == f"no answer from {MASK} today"


def test_a_cause_inside_another_word_is_no_quotation():
    """What a cause said must not cut a label from its secret."""
    source = """
def job(a):
    try:
        raise ValueError("password=")
    except ValueError as error:
        raise RuntimeError(a) from error
"""
    assert shown(source, "password=file") == f"password={MASK}; caused by ValueError: password="


# --- words, identifiers, settings -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kari Nordmann is not a member", f"{MASK} is not a member"),
        ("User Grace Kim not found", f"User {MASK} not found"),
        ("Rachel True", MASK),
        ("MARK LONG", MASK),
        ("server", MASK),
        ("'user_id'", "'user_id'"),
        ("missing environment variable DATABASE_URL", "missing environment variable DATABASE_URL"),
        ("cannot read /home/kari/x.csv", f"cannot read {MASK}"),
        ("key=Kari;status=failed", f"key={MASK};status=failed"),
        ("has been ill since her accident in may", MASK),
        ("could not reach 10.0.0.1:8080 in time", f"could not reach {MASK} in time"),
        ("at line 12 of 03.02.1984", f"at line 12 of {MASK}"),
        ("Kari, Ola og Per", MASK),
        ("Can Yilmaz not found", f"{MASK} not found"),
        ("no invoice for customer: An Binh", f"no invoice for customer: {MASK}"),
        (
            "job: Error: connect ECONNREFUSED kari:5432",
            f"job: Error: connect ECONNREFUSED {MASK}:5432",
        ),
        (
            "(550, b'5.1.1 mailbox full: kari')",
            f"(550, b'5.1.1 mailbox full: {MASK}')",
        ),
        ("invalid date 4.7.98 for Kari", f"invalid date {MASK} for {MASK}"),
        ("An error occurred, Kari", f"An error occurred, {MASK}"),
        (
            "Duplicate entry 'kari-true' for key 'users.email'",
            f"Duplicate entry '{MASK}' for key 'users.email'",
        ),
        (
            "Command '['mail', 'kari']' timed out after 2.5 seconds",
            f"Command '['mail'{MASK}]' timed out after 2.5 seconds",
        ),
        ("curl: (6) Could not resolve host: kari.no", f"curl: (6) Could not resolve host: {MASK}"),
        ("", ""),
    ],
)
def test_text_alone_is_judged_by_its_words(text, expected):
    """Without any code to ask, known words stay and everything else goes."""
    assert redact_text(text) == expected


def test_an_operator_can_vouch_for_words_and_patterns():
    """``redact_keep``: words in any case, sentences, and expressions after ``re:``."""
    text = "Frobnicator could not load tenant acme, order ORD-12345678, for Kari"
    keep = ("frobnicator", "re:ORD-[0-9]{8}", "re:(")
    assert redact_text(text, keep=keep) == (
        f"Frobnicator could not load tenant {MASK}, order ORD-12345678, for {MASK}"
    )
    source = 'def job(a):\n    raise ValueError(f"could not load {a} today")'
    error = raised(compiled(source).job, "acme Kari")
    assert redact_error(error, keep=["acme"]) == f"could not load acme {MASK} today"
    assert redact_text("Takk for sist", keep=["Takk for sist"]) == "Takk for sist"


def test_the_vocabulary_holds_no_names():
    """No word that is kept by itself is a person's name in any locale of Faker.

    The exceptions are words without which no message could be shown; they are not trusted with a
    capital, unless they begin a sentence.
    """
    from faker.providers import person

    names = set()
    for found in pkgutil.iter_modules(person.__path__):
        provider = importlib.import_module(f"faker.providers.person.{found.name}").Provider
        for attribute in ("first_names", "last_names"):
            listed = getattr(provider, attribute, ())
            if not isinstance(listed, property):
                names.update(str(name).lower() for name in listed)
    words = read_data("vocabulary.txt").partition("\n[words]\n")[2].partition("\n[")[0].split()
    assert len(words) > 3000
    technical = "add char close comment company date dev file handler hook job len list mentor meta"
    technical += " pages parent parts peer read server sys trace unique unknown valid vars"
    assert sorted((set(words) & names) - set(technical.split())) == []


# --- nothing makes it fail ------------------------------------------------------------------------


class RaisesError(Exception):
    def __str__(self):
        raise SystemExit("kari@example.com")

    __notes__ = property(lambda self: 1 / 0)


class LiesError(Exception):
    def __str__(self):
        return Text("kari@example.com")


class Text(str):
    __slots__ = ()

    def __getitem__(self, key):
        raise RuntimeError

    __len__ = __str__ = encode = replace = __getitem__


@pytest.mark.parametrize(
    "error",
    [
        RaisesError(),
        LiesError(),
        ValueError("a\0b\x1b[31mred\x1b[0m\r\nnext\u202eright\u2028\x85\ud800"),
        ValueError(object()),
        ValueError(),
        KeyError(),
        OSError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        ExceptionGroup("x", [ExceptionGroup("y", [ValueError("z")] * 50)] * 50),
    ],
    ids=lambda error: type(error).__name__,
)
def test_hostile_exceptions_are_survived(error, caplog):
    """Whatever an exception does when it is asked, there is a Failure, clean and small."""
    error.__cause__ = error
    failure = capture(error, redact="scrub")
    assert failure.error_type
    message = failure.error_message or ""
    assert message.isprintable()
    assert len(message.encode()) <= 2048
    assert "kari" not in message
    assert "kari" not in caplog.text


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=3))
def test_any_text_comes_out_clean(text, keep):
    """Printable, on one line, UTF-8, at most 2 KB, and never an exception."""
    result = redact_text(text, keep=keep)
    assert result.isprintable()
    assert "\n" not in result
    assert len(result.encode()) <= 2048


@given(st.text(alphabet="abcæå 'aKL1.,:@/\\(){}[]=%s-\n\"", max_size=200))
def test_no_new_words_appear(text):
    """What is shown besides masks was in the text."""
    for piece in redact_text(text).replace(" | ", MASK).split(MASK):
        for word in piece.split():
            assert word in text


@pytest.mark.parametrize(
    "unit",
    [" ", "a", "1 ", "A1", ":", "@", "a@", "/home/", "'", "a.", "a-", "http://", "NO12 ", "(",
     "\n", "Key (a)=(b) already exists. ", "' object has no attribute '", "'a' ", "token is ",
     "[type=a, input_value=", "long short page ", "may ", "\u0301\ud800", "å", "password "],
)  # fmt: skip
def test_no_text_takes_long(unit):
    """The cost is bounded whatever the text is made of."""
    redact_text("warm")
    begin = time.thread_time()
    redact_text(unit * 100_000)
    redact_text((unit * 4000)[:3900] + " Kari")
    assert time.thread_time() - begin < 2.0


def test_a_huge_message_costs_no_more_than_its_own_str():
    """50 MB are looked at for their first few thousand characters."""

    class HugeError(Exception):
        text = "x y " * 12_500_000

        def __str__(self):
            return self.text

    error = raised(compiled("def job(e):\n    raise e").job, HugeError())
    times = []
    for _ in range(5):
        begin = time.thread_time()
        text = redact_error(error)
        times.append(time.thread_time() - begin)
    assert min(times) < 0.05
    assert len(text.encode()) <= 2048


def test_what_was_cut_in_two_does_not_pass_for_a_word():
    """The last word of a text that is too long is dropped, not shown in part."""
    text = "kari " * 799 + "servernordmann"  # cut after "server"
    assert redact_text(text) == MASK
    assert redact_text("kari " * 700 + "server failed") == f"{MASK} server failed"


def test_a_command_keeps_the_end_of_its_output():
    """The last lines say what went wrong; they are redacted line by line."""
    tail = "".join(f"line {number} of Kari\n" for number in range(2000)) + "ValueError: timed out\n"
    failure = capture_output(tail, 3, redact="scrub")
    assert failure.error_message.endswith("timed out")
    assert "Kari" not in failure.error_message
    assert len(failure.error_message.encode()) <= 2048
    assert failure.error_code == "3"
    assert redact_output("Kari Nordmann") == MASK


def test_a_commands_colours_and_carriage_returns_are_no_part_of_its_words():
    """Programs paint what they say and overwrite it; a secret is not cut in two by that."""
    tail = "\x1b[1;31mERROR\x1b[0m: \x1b[33mConnection refused\x1b[0m\r\nBusy\rRetry failed\n"
    assert redact_output(tail) == f"ERROR: Connection refused | {MASK} | Retry failed"
    assert redact_output("pass\x1b[1mword=fi\x1b[0mle") == f"password={MASK}"


def test_progress_bars_do_not_push_out_the_error(tmp_path):
    """A bar that is drawn again two thousand times is one line, as it is on a terminal."""
    said = "import sys; print('upload failed: connection refused', file=sys.stderr)"
    said += "; [print(f'{n:5} of 2000 files', end='\\r', file=sys.stderr) for n in range(2000)]"
    cli = Cli(tmp_path)
    cli("run", "nightly", "--", sys.executable, "-c", said + "; sys.exit(3)")
    (record,) = cli.runs("nightly")
    assert record.failure.error_message.startswith("upload failed: connection refused")


def test_a_traceback_in_a_commands_output_names_its_files():
    """Which program and where, but no folder, and no file named after somebody."""
    tail = """Traceback (most recent call last):
  File "/srv/kari/send_mail.py", line 10, in main
  File "/srv/kari/kari.py", line 3, in send
ConnectionRefusedError: [Errno 111] Connection refused
"""
    assert redact_output(tail) == (
        f'Traceback (most recent call last): | File "{MASK}send_mail.py", line 10, in main'
        f' | File "{MASK}", line 3, in send'
        " | ConnectionRefusedError: [Errno 111] Connection refused"
    )


def test_an_engine_that_breaks_is_said_once_and_means_strict(monkeypatch, caplog):
    """A defect of ours costs the message, never the record; the log does not quote it."""

    def broken(error, *, keep):
        raise RuntimeError("kari@example.com")

    monkeypatch.setattr(redaction, "redact_error", broken)
    monkeypatch.setattr("cronguard.process.log._logged_once", set())
    with caplog.at_level(logging.WARNING, "cronguard"):
        failures = [capture(ValueError("kari"), redact="scrub") for _ in range(2)]
    assert [failure.error_message for failure in failures] == [None, None]
    assert len(caplog.records) == 1
    assert "kari" not in caplog.text


def test_cleaning_is_bounded():
    """`clean` cuts at a whole character."""
    assert len(clean("å" * 10_000).encode()) <= 2048
    assert clean("a\n b\t\x00c") == "a b \ufffdc"


def test_the_words_are_read_when_a_message_is_redacted():
    """A run that goes well reads no word list."""
    program = (
        "import sys, cronguard, cronguard.privacy.capture\n"
        "print([name for name in sys.modules if name.startswith('cronguard.privacy.redaction')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_settings_entries_are_made_ready_once():
    """The same list of ``redact_keep`` is compiled once a process."""
    assert keep_of(("a", "re:b")) is keep_of(("a", "re:b"))
    assert vocabulary() is vocabulary()
