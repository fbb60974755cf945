"""What redaction leaks and what it hides, corpus by corpus: the rows of one table.

Run as ``python -m tests.redaction``; the tests hold the same figures.
"""

from __future__ import annotations

import contextlib
import random
import re
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from faker import Faker
from support import corpus, corpus_held_out, corpus_raisers, corpus_sentences
from support.corpus_clean import clean_errors
from support.corpus_libraries import Servers
from support.corpus_ordinary import ORDINARY
from support.corpus_sentences import sentences
from support.job_sentences import THIRD
from support.loopback import loopback
from support.measure import kept, leaks

from cronguard.privacy.redaction import redact_error, redact_output, redact_text

_HERE = Path(__file__).parent
_LEFT = re.compile(r"0\.0[0-9]{6,} seconds")
_PORT = re.compile(r"port=[0-9]{4,5}")


@dataclass
class Figures:
    """One row. Each figure is what came through of what there was."""

    name: str
    values: int = 0
    leaked: list = field(default_factory=list)
    tokens: list = field(default_factory=lambda: [0, 0])
    facts: list = field(default_factory=lambda: [0, 0])
    whole: list = field(default_factory=lambda: [0, 0])
    hidden: list = field(default_factory=list)

    @property
    def recall(self):
        return 1 - len(self.leaked) / self.values if self.values else None

    def share(self, what):
        some, total = getattr(self, what)
        return some / total if total else None

    def add_values(self, case, shown):
        """Count the private values of a case, and those that can be read."""
        for value in case.values:
            self.values += 1
            if found := leaks(value, case, shown):
                self.leaked.append((case.form, value, sorted(found), shown[:300]))

    def add_tokens(self, text, shown):
        """Count the words of a text without anything private."""
        some, total = kept(text, shown)
        self.tokens[0] += some
        self.tokens[1] += total
        self.whole[0] += "‹…›" not in shown
        self.whole[1] += 1

    def add_facts(self, name, facts, shown):
        """Count what one needs to know."""
        for fact in facts:
            known = re.search(rf"(?<![0-9]){re.escape(fact)}(?![0-9])", shown) is not None
            self.facts[0] += known
            self.facts[1] += 1
            if not known:
                self.hidden.append((name, fact, shown[:300]))


def people(name, seed, locales, each=1):
    """Generated people in many locales, raised in a hundred ways."""
    row = Figures(name)
    for case in corpus.personal(seed, locales, each):
        row.add_values(case, redact_error(case.error) or "")
    return row


def names_that_are_words(seed, each=8):
    """The names that the rules were made with."""
    row = Figures("names that are words, the list of the rules")
    for case in corpus.adversarial(seed, each):
        row.add_values(case, redact_error(case.error) or "")
    return row


def _listed(title):
    text = (_HERE / "names_in_the_vocabulary.txt").read_text("utf-8")
    lines = text.partition(f"[{title}]")[2].partition("\n[")[0].splitlines()[1:]
    return " ".join(lines).split()


def _comma(first, last):
    return f"{last}, {first}"


SHAPES = {
    "Last, First": _comma,
    "LAST, FIRST": lambda first, last: f"{last}, {first}".upper(),
    "Title Case": lambda first, last: f"{first} {last}",
    "Surname": lambda first, last: last,
    "CAPITALS": lambda first, last: f"{first} {last}".upper(),
    "SURNAME": lambda first, last: last.upper(),
    "small letters": lambda first, last: f"{first} {last}".lower(),
    "surname": lambda first, last: last.lower(),
    "user name": lambda first, last: f"{first}.{last}".lower(),
    "user_name": lambda first, last: f"{last}_{first}".lower(),
    "uname": lambda first, last: f"{first[0]}{last}".lower(),
}
CASED = ("Last, First", "LAST, FIRST", "Title Case", "Surname", "CAPITALS", "SURNAME")


def names_in_the_vocabulary(seed, each=1, *, capitals=False):
    """Names from lists that the rules were not made with, one row a way of writing.

    With ``capitals`` only those that are hardest to tell from words.
    """
    surnames = [*_listed("census"), *_listed("surnames")]
    firsts, title = _listed("first names"), "names in the vocabulary"
    if capitals:
        surnames, title = _listed("capitals"), "surnames such as Row and CHECK"
        firsts = ["Peter", "Anna", "Kari", "Ola", *dict.fromkeys(firsts[:4])]
    for shape in CASED if capitals else SHAPES:
        write = SHAPES[shape]
        dice = random.Random(f"{seed}-{shape}")
        row = Figures(f"{title}, {shape}")
        for raiser in corpus_raisers.ALL:
            for _ in range(2 * each):
                values = [write(dice.choice(firsts), dice.choice(surnames)) for _ in "ab"]
                for case in corpus.raised(raiser, values):
                    row.add_values(case, redact_error(case.error) or "")
        yield row


def _remark(note):
    raise RuntimeError(f"cannot import comment: {note}")


def _remark_of(note):
    raise ValueError(f"row 7 rejected, note was {note!r}")


def _remark_alone(note):
    raise ValueError(note)


def _remark_in_document(note):
    raise ValueError({"status": "open", "note": note})


def _remark_key(note):
    return {}[note]


def remarks():
    """Free remarks in everyday words, as values."""
    row = Figures("remarks in everyday words")
    for line in (_HERE / "remarks.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        text, _, private = line.partition(" | ")
        for raiser in (_remark, _remark_of, _remark_alone, _remark_in_document, _remark_key):
            for case in corpus.raised(raiser, [text]):
                case.values = private.split()
                row.add_values(case, redact_error(case.error) or "")
    return row


def own_sentences():
    """What jobs say in sentences of their own."""
    return _sentences("jobs' own sentences", sentences())


def more_sentences(seed):
    """A second list of them, by another hand."""
    said = corpus_held_out.own_sentences(seed, 20, held_out=False)
    return _sentences("jobs' own sentences, the second list", said)


def third_sentences():
    """A third list: values of all kinds that were tried to get through."""
    return _sentences("jobs' own sentences, the third list", corpus_sentences.listed(THIRD))


def programs():
    """What programs write to standard error: nothing is known but the text."""
    row = Figures("programs' own texts, text alone")
    for line in (_HERE / "program_texts.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            marked = line.replace("\\n", "\n")
            private, facts = (
                re.findall(signs, marked, re.DOTALL) for signs in ("⟦(.*?)⟧", "⟪(.*?)⟫")
            )
            text = re.sub("[⟦⟧⟪⟫]", "", marked)
            shown = redact_output(text) or ""
            row.add_values(corpus.Case(None, text, private, text[:60]), shown)
            row.add_facts(text[:60], facts, shown)
            if not private:
                row.add_tokens(text, shown)
    return row


def _sentences(name, said):
    row = Figures(name)
    for each in said:
        shown = redact_error(each.case.error) or ""
        row.add_values(each.case, shown)
        row.add_facts(each.case.form, each.facts, shown)
        if not each.case.values:
            row.add_tokens(each.case.text, shown)
    return row


def held_out_people(seed, each=2):
    """People of a list that no rule was made with, in all ways of the corpus."""
    row, dice = Figures("held out: people"), random.Random(seed)
    for raiser in corpus_raisers.ALL:
        for _ in range(each * 6):
            for case in corpus.raised(raiser, dice.sample(corpus_held_out.people(), 2)):
                row.add_values(case, redact_error(case.error) or "")
    return row


def held_out_sentences(seed):
    """Sentences of jobs that no rule was made with."""
    return _sentences("held out: jobs' own sentences", corpus_held_out.own_sentences(seed, 20))


def held_out_libraries(seed, *, knows):
    """What libraries say that no rule was made with; their code is on the traceback or unknown."""
    row = Figures(f"held out: libraries' sentences, {'exception' if knows else 'text alone'}")
    for case in corpus_held_out.library_people(seed, knows=knows):
        row.add_values(case, redact_error(case.error) or "")
    for name, error, facts in corpus_held_out.library_facts(seed, knows=knows):
        shown = redact_error(error) or ""
        row.add_facts(name, facts, shown)
        row.add_tokens(str(error).replace(corpus_held_out.VALUE, " "), shown)
    row.whole = [0, 0]  # each has a value in it
    return row


def clean(source):
    """Messages of Python, SQLite, httpx, pydantic, PostgreSQL and PostgREST without anybody."""
    row = Figures(f"clean messages, {source}")
    row.libraries = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library, error in clean_errors():
            text = str(error)
            shown = redact_error(error) if source == "exception" else redact_text(text)
            row.add_tokens(text, shown or "")
            row.libraries.setdefault(library, Figures(library)).add_tokens(text, shown or "")
            if "‹…›" in (shown or ""):
                row.hidden.append((library, text, shown))
    return row


@contextlib.contextmanager
def servers(stack=None):
    """The loopback servers and, with a `Stack`, a real PostgreSQL."""
    with warnings.catch_warnings(), loopback() as at:
        warnings.simplefilter("ignore")
        database = stack.plain_database() if stack else None
        yield Servers(at, database and database.admin, database.url if database else "")


_PLAIN = [("orders", "status"), ("user_id", "queue"), ("invalid value", "nightly_export")]


def libraries(at, seed, locales):
    """Errors of real libraries: with people as values, and with a program's own names."""
    people, plain = Figures("real libraries, people"), Figures("real libraries, no people")
    for locale in locales:
        faker = Faker(locale)
        faker.seed_instance(f"{seed}-{locale}")
        dice = random.Random(f"{seed}-{locale}")
        for way in at.ways():
            a, b = (each(faker, dice).replace("\n", " ") for each in dice.sample(corpus.VALUES, 2))
            if case := at.case(way, a, b):
                people.add_values(case, redact_error(case.error) or "")
    for values in _PLAIN:
        for way in at.ways():
            if case := at.case(way, *values):
                text = str(case.error)
                shown = redact_error(case.error) or ""
                for value in values:  # which is a value all the same
                    text = text.replace(value, " ")
                plain.add_tokens(text, shown)
                plain.hidden.append((way.__name__, text, shown))
    return people, plain


def ordinary(at):
    """The sixty; the second value is ``(failure, error, what is shown)`` of each."""
    row, page = Figures("sixty ordinary failures"), []
    for failure in ORDINARY:
        at.pg = at.fresh() if failure.name.startswith("postgres") else None
        try:
            failure.work(at)
        except BaseException as error:  # noqa: BLE001
            shown = redact_error(error) or ""
            said = corpus_raisers.everything_said(error)
            private = [each for each in failure.private if each in said]
            row.add_values(corpus.Case(error, said, private, failure.name), shown)
            code = capture_code(error)
            row.add_facts(failure.name, failure.facts, f"{code} {shown}")
            if not private:
                row.add_tokens(str(error), shown)
            page.append((failure, error, shown))
        finally:
            if at.pg is not None:
                at.pg.close()
                at.pg = None
    return row, page


def capture_code(error):
    """The error's code, which every alert shows beside the message."""
    from cronguard.privacy.error_code import error_code

    return error_code(error) or ""


def rows(seed, *, word="", page=None):
    """The rows of the table, or of the corpora whose name holds the word."""
    corpora = {
        "people": lambda: [people("people, 20 locales", seed, corpus.LOCALES, 2)],
        "other people": lambda: [
            people("people, 36 locales not used while building", seed, corpus.FRESH_LOCALES, 2)
        ],
        "listed names": lambda: [names_that_are_words(seed)],
        "names": lambda: names_in_the_vocabulary(seed, 4),
        "names in capitals": lambda: names_in_the_vocabulary(seed, 4, capitals=True),
        "remarks": lambda: [remarks()],
        "sentences": lambda: [own_sentences(), more_sentences(seed), third_sentences()],
        "programs": lambda: [programs()],
        "held out": lambda: [
            held_out_people(seed),
            held_out_sentences(seed),
            *(held_out_libraries(seed, knows=knows) for knows in (True, False)),
        ],
        "clean": lambda: [clean("exception"), clean("text alone")],
        "served": lambda: _served(seed, page),
    }
    for name, make in corpora.items():
        if word in name:
            yield from make()


def _served(seed, page):
    from support.stack.client import Stack

    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "stack")
        try:
            with servers(stack) as at:
                yield from libraries(at, seed, corpus.FRESH_LOCALES[:12])
                row, sixty = ordinary(at)
                yield row
                if page:
                    Path(page).write_text(page_of(sixty), "utf-8")
        finally:
            stack.close()


def page_of(sixty):
    """The sixty as an alert shows them, for a person to read."""
    from cronguard.privacy.capture import capture

    lines = ["# Sixty ordinary failures, as an alert shows them", ""]
    for failure, error, _ in sixty:
        kept = capture(error, redact="scrub")
        code = f" ({kept.error_code})" if kept.error_code else ""
        message = _PORT.sub("port=8000", kept.error_message or "no message")
        message = _LEFT.sub("0.05 seconds", message)
        alert = f"> {kept.error_type}{code}: {message}"
        lines += [f"**{failure.name.replace('_', ' ')}**", "", alert, ""]
    return "\n".join(lines)
