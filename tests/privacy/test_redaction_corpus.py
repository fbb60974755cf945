"""How much of people's data redaction finds, and how much of a clean message it leaves.

``--redaction-seed`` gives another seed; ``fresh`` draws one. ``--redaction-each`` multiplies the
cases.
"""

from __future__ import annotations

import random
import re
import time
import warnings
from collections import Counter
from statistics import median

import pytest
from support import corpus
from support.corpus_clean import clean_errors
from support.measure import kept, leaks

from cronguard.privacy.error_code import error_code
from cronguard.privacy.redaction import redact_error, redact_text

pytestmark = pytest.mark.one_python

RECALL = 0.999
ADVERSARIAL_RECALL = 0.98
KEPT = 0.70
MILLISECONDS = 1.0


@pytest.fixture(scope="module")
def each(pytestconfig):
    return pytestconfig.getoption("--redaction-each")


@pytest.fixture(scope="module")
def seed(pytestconfig):
    asked = pytestconfig.getoption("--redaction-seed")
    return str(random.SystemRandom().randrange(10**9)) if asked == "fresh" else asked


@pytest.fixture(scope="module")
def table():
    """Lines of figures, printed when the module is done (``pytest -s`` shows them)."""
    lines = []
    yield lines
    print("\n" + "\n".join(lines))  # noqa: T201  # the figures are what one runs it for


def measured(cases):
    """(recall, misses by way of raising, milliseconds a message in the middle)."""
    values, missed, times, examples = 0, Counter(), [], []
    for case in cases:
        begin = time.thread_time()
        shown = redact_error(case.error) or ""
        times.append((time.thread_time() - begin) * 1000)
        for value in case.values:
            values += 1
            if found := leaks(value, case, shown):
                missed[case.form] += 1
                examples.append((case.form, value, found, shown[:200]))
    assert values > 500
    return 1 - missed.total() / values, values, median(times), examples


@pytest.mark.parametrize("locales", ["own", pytest.param("fresh", marks=pytest.mark.long)])
def test_people_are_masked(locales, seed, each, table):
    """Generated people in many locales, raised in a hundred ways: hardly a trace is left."""
    chosen = corpus.LOCALES if locales == "own" else corpus.FRESH_LOCALES
    recall, values, middle, examples = measured(corpus.personal(seed, chosen, each))
    table.append(
        f"people, {len(chosen)} locales, seed {seed}: {values} values,"
        f" recall {recall:.5f}, {middle:.2f} ms"
    )
    assert len(chosen) >= 16
    assert recall >= RECALL, examples
    assert middle < MILLISECONDS


def test_names_that_are_words_are_masked(seed, each, table):
    """Names such as Mark Long, Grace Page and Christopher Null are masked all the same."""
    recall, values, middle, examples = measured(corpus.adversarial(seed, 8 * each))
    table.append(
        f"names that are words, seed {seed}: {values} values, recall {recall:.5f}, {middle:.2f} ms"
    )
    assert recall >= ADVERSARIAL_RECALL, examples


@pytest.mark.parametrize("source", ["exception", "text alone"])
def test_clean_messages_stay_readable(source, table):
    """Messages of Python, SQLite, httpx, pydantic, PostgreSQL and PostgREST keep their words."""
    counts = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library, error in clean_errors():
            text = str(error)
            shown = redact_error(error) if source == "exception" else redact_text(text)
            some, total = kept(text, shown or "")
            before = counts.get(library, (0, 0))
            counts[library] = before[0] + some, before[1] + total
    shares = {library: some / total for library, (some, total) in counts.items()}
    overall = sum(some for some, _ in counts.values()) / sum(total for _, total in counts.values())
    figures = ", ".join(f"{library} {share:.2f}" for library, share in shares.items())
    table.append(f"words kept in clean messages ({source}): {overall:.3f} ({figures})")
    assert len(counts) >= 6
    assert min(shares.values()) >= KEPT, shares


def test_codes_survive_among_peoples_data(seed):
    """Where the raw error has a code, so has what is kept of it, whoever is in the message."""
    checked = 0
    for case in corpus.personal(seed, ["no_NO", "en_US"], 6):
        code, impersonal = error_code(case.error), case.text
        for value in case.values:  # in which the same digits may stand by chance
            impersonal = impersonal.replace(value, " ")
        if code and len(code) > 2 and re.search(rf"\b{code}\b", impersonal):
            checked += 1
            assert code in (redact_error(case.error) or "")
    assert checked
