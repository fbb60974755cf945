"""Word by word: which words of a text may be shown, and who vouches for the others.

The code vouches, the vocabulary, and what an operator keeps (``redact_keep``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cronguard.privacy.code_text import CodeText
from cronguard.privacy.vocabulary import Vocabulary

_PATTERN = "re:"
_CHARACTER = r"[^\s!-/:-@\[-^`{-~]"
_THOUSANDS = r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))"
_RUN = re.compile(rf"(?!b['\"]){_CHARACTER}+(?:(?:[-._/@\\'+]+|{_THOUSANDS}){_CHARACTER}+)*")
_SIGNS = frozenset("\u2013—…“”\u2018\u2019«»•·→\u00d7°±")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}|[0-9]{1,4}\.[0-9]{1,3}")
_COUNT = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+|(?:0|[1-9][0-9]{0,6})/[1-9][0-9]{0,6}")
"""What is a number only where it says of what."""
_MEASURE = re.compile(
    r"0x[0-9A-Fa-f]{1,2}|(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,3})?(?:ms|s|kB|KB|MB|GB)"
    r"|[245]\.[0-9]\.[0-9]"  # of mail servers, https://www.rfc-editor.org/rfc/rfc3463
)
_LABEL = re.compile(r"(?:\b([A-Za-z]+) )?\b([A-Za-z]+)[\"']?(?: |=|: ?| #| \(|\()\Z")
_SMALL = r"(?:[0-9]{1,3}|[0-9]\.[0-9]{1,2})(?: ?(?:ms|s|%|[kKMGT]i?B))?"
_AMOUNT = re.compile(rf"{_SMALL}(?:(?: ?[<>!=]=? ?|, ){_SMALL}){{0,9}}")
"""A number that hardly says anything about anybody: a status, a count, a share."""
_REPLY = re.compile(
    r"[245][0-9]{2}(?:, b['\"]|[ -][245]\.[0-9]|, message=)"
    r"|[245][0-9]{2} (?:Bad|Conflict|Forbidden|Gateway|Internal|Not|Service|Too|Un[a-z]+)\b"
    r"|[12][0-9]{3}(?: \([0-9A-Z]{5}\)|, ['\"](?:Access|Can't|Deadlock|Dupl|Lo[cs][kt]|Unknown))"
)
"""How the answer of a server begins: of mail, also as smtplib shows it, of HTTP and of MySQL."""
_MACHINE_CODE = re.compile(r"(?:DPY|ORA|PLS|TNS)-[0-9]{4,5}")
_UNIT = re.compile(r"(?: of [0-9,]{1,9})? ?([A-Za-z-]+|%)(?!\w)")
_CODES = frozenset({"status", "exit", "error", "return", "http", "response", "with"})
_DOUBTFUL = frozenset({"ambiguous", "function", "term", "number"})
_PERSONS = frozenset({"he", "her", "herself", "him", "himself", "his", "she"})
"""No program says these of itself: what does is a remark about somebody, whatever its words."""
_BEFORE_VALUE = frozenset("(<>:;,|")
_AFTER_VALUE = frozenset({"", *")<>;,|\n"})
_QUOTED_TEXT = re.compile(r"(?<!\w)([\"'])[^\"' \n]+ [^\"'\n]+\1(?!\w)")
_QUOTED = frozenset({"''", '""', "``"})
_OPENS_CLAUSE = frozenset("'\"`.!?:;])([|>-\n")
_CODED = frozenset({"code", "error"})
_FEW = 2
_REMARK = 4  # one word in so many is unknown
_SHORT_CODE = 3  # an errno or exit code
_SHORT = 5
"""Of letters, so that somebody may be called like a term: Post, Null, SHA."""


class Keep:
    """``redact_keep`` of the settings: words in any case, whole sentences, and expressions after
    ``re:``."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        plain = [entry for entry in entries if not entry.startswith(_PATTERN)]
        self._words = frozenset(entry.lower() for entry in plain)
        self.sentences = tuple(entry for entry in plain if " " in entry)
        self._patterns = [
            pattern
            for entry in entries
            if entry.startswith(_PATTERN) and (pattern := _compiled(entry.removeprefix(_PATTERN)))
        ]

    def knows(self, run: str) -> bool:
        """Tell whether the run of characters is one of the words."""
        return bool(self._words) and run.lower() in self._words

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Return where the text matches one of the expressions."""
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                yield match.span()


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None  # it keeps nothing, which is the safe side


@lru_cache(maxsize=16)
def keep_of(entries: tuple[str, ...]) -> Keep:
    """Return the settings' list, made ready once. An expression that is none keeps nothing."""
    return Keep(entries)


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that may vouch for a part of a text."""

    code: CodeText
    vocabulary: Vocabulary
    keep: Keep

    def is_name(self, name: str) -> bool:
        """Tell whether what stands for a variable, a table or the like is the name of one."""
        if name.isalpha() and not name.islower():
            return not name.istitle() and self.code.knows(name)
        if self.code.knows(name) or self.vocabulary.knows_name(name):
            return True
        return "." in name and all(map(self.is_name, name.split(".")))

    def is_type(self, name: str) -> bool:
        """Do as `is_name` for a class, which may have a capital: ``Settings``."""
        known = self.code.knows(name) or self.vocabulary.knows_name(name)
        return known or self.vocabulary.kind(name.lower()) == "known"

    def is_key(self, name: str) -> bool:
        """Do as `is_name` for a key of a document, which may be a word as well: ``name``."""
        return self.vocabulary.kind(name) in {"known", "ambiguous"} or self.is_name(name)


@dataclass(slots=True)
class Word:
    """One run of characters without a space, and what was decided about it."""

    start: int
    end: int
    text: str
    kind: str
    """``known``, ``function``, ``ambiguous``, ``term``, ``starter``, ``name``, ``number``, ``sign``
    or ``vouched`` (by the operator, or because it is the error's code); empty to be masked."""


class Words:
    """The words of one stretch of a text."""

    def __init__(self, text: str, start: int, end: int, known: Known) -> None:
        self._text, self._start, self._end = text, start, end
        self._vocabulary = known.vocabulary
        self._code = known.code
        self._keep = known.keep
        self.all = [
            Word(*match.span(), match.group(), self._kind(*match.span(), match.group()))
            for match in _RUN.finditer(text, start, end)
        ]

    def judge_as_message(self, *, whole: bool) -> None:
        """Keep known words; ``whole`` says that there is no more to the text than this stretch."""
        if any(word.text.lower() in _PERSONS for word in self.all):
            self.all[:] = [Word(self._start, self._end, "", "")]
            return
        if whole and len(self.all) > _FEW and self._is_quoted():
            self.judge_as_value()  # the key of a KeyError, say
            return
        self._doubt()
        if whole and len(self.all) <= _FEW:
            self._keep_identifiers()

    def judge_as_value(self) -> None:
        """Keep nothing but a lone number, or constants of the code if there is nothing else."""
        if self.all and _AMOUNT.fullmatch(self._text, self.all[0].start, self.all[-1].end):
            self.all.clear()
            return
        constant = all(word.text in self._code.constants for word in self.all)
        alone = len(self.all) == 1
        for word in self.all:
            plain = alone and (word.kind == "number" or self._is_machine_word(word))
            if word.kind != "vouched":
                word.kind = "name" if constant or plain else ""

    def _is_machine_word(self, word: Word) -> bool:
        """Tell whether nobody is called so: a sentence such as ``channel_not_found``, a signal,
        ``None``, and terms such as ``UTF-8``, ``ECONNRESET`` and ``ValueError``."""
        text = word.text
        if word.kind == "term":
            cased = text.islower() or text.istitle() or len(text) <= _SHORT
            return not text.isalpha() or not cased or text == "None"
        known = self._vocabulary.knows_name(text)
        return known and (text.count("_") >= _FEW or text.startswith("SIG"))

    def _is_quoted(self) -> bool:
        text = self._text
        return text[0] in "'\"" and text.find(text[0], 1) == len(text) - 1

    def _keep_identifiers(self) -> None:
        """Keep identifiers; a text of a word or two is a value, whatever its words mean."""
        for word in self.all:
            quoted = word.kind == "known" and self._around(word.start, word.end) in _QUOTED
            if word.kind not in {"name", "number", "vouched"} and not quoted:
                word.kind = ""

    # --- one word ---------------------------------------------------------------------------------

    def _kind(self, start: int, end: int, run: str) -> str:
        vocabulary = self._vocabulary
        if run in self._code.codes or self._keep.knows(run):
            return "vouched"
        if run[0].isdigit():
            return self._kind_of_number(start, end, run)
        if "-" in run and _MACHINE_CODE.fullmatch(run):
            return "number"
        if kind := vocabulary.kind(run):
            return "" if kind == "term" and run.isupper() and self._is_alone(start, end) else kind
        if not run.isascii():
            return "sign" if _SIGNS.issuperset(run) else ""
        if run.isalpha() and run.istitle():
            return "starter" if self._starts_clause(start, run) else ""
        if run in self._code.constants and (self._around(start, end) in _QUOTED or "_" in run):
            return "name"
        if run in self._code.names and "_" in run:
            return "name"  # a variable may be called will or grace
        return "name" if vocabulary.knows_name(run) else ""

    def _is_alone(self, start: int, end: int) -> bool:
        """Tell whether signs part the word from all others, as they do with a value."""
        around = self._around(start, end)
        if around in _QUOTED or around[:1] == "=":
            return True
        before, after = self._text[:start].rstrip(" \t"), self._text[end:].lstrip(" \t")
        return before[-1:] in _BEFORE_VALUE and after[:1] in _AFTER_VALUE

    def _starts_clause(self, start: int, run: str) -> bool:
        around = self._around(start, start + len(run))
        if run not in self._vocabulary.starters or around[-1:] in {")", ","}:
            return False  # an exclamation, or "Last, First"
        if self._is_alone(start, start + len(run)):
            return False
        before = self._text[:start].rstrip(" \t")
        return not before or before[-1] in _OPENS_CLAUSE

    def _around(self, start: int, end: int) -> str:
        """Return the sign before a word and the one after it."""
        return self._text[max(start - 1, 0) : start] + self._text[end : end + 1]

    def _kind_of_number(self, start: int, end: int, run: str) -> str:
        if self._vocabulary.kind(run) == "term":
            return "term"
        plain = _NUMBER.fullmatch(run)
        counted = plain or _COUNT.fullmatch(run)
        if _MEASURE.fullmatch(run) or (plain and _REPLY.match(self._text, start)):
            return "number"
        after = _UNIT.match(self._text, end)
        if after and after.group(1) in self._vocabulary.units and counted:
            return "number"
        if not counted:
            return ""
        before = _LABEL.search(self._text[max(0, start - 40) : start])
        if before is None or "." in run:
            return ""
        label, of = before.group(2).lower(), (before.group(1) or "").lower()
        labels = self._vocabulary.labels
        known = {"code": of in _CODES, "of": of in labels}.get(label, label in labels)
        return "number" if known and (len(run) <= _SHORT_CODE or label not in _CODED) else ""

    # --- second thoughts -------------------------------------------------------------------------

    def _doubt(self) -> None:
        """Mask small and ambiguous words beside a mask: they are part of it more often than not."""
        # both ways, so that a row of such words falls at once
        order = [*range(len(self.all)), *reversed(range(len(self.all)))]
        while sum(map(self._falls, order)):
            pass
        for quoted in _QUOTED_TEXT.finditer(self._text, self._start, self._end):
            inside = [word for word in self.all if quoted.start() < word.start < quoted.end()]
            if len(inside) <= _REMARK * sum(not word.kind for word in inside):
                for word in inside:
                    word.kind = ""  # some words of a remark are everyday ones

    def _falls(self, index: int) -> bool:
        word = self.all[index]
        if word.kind not in _DOUBTFUL:
            return False
        # in lists and in "Last, First" a comma does not part them
        term = word.kind == "term" and word.text.isalpha() and len(word.text) <= _SHORT
        between = " ," if term else " "
        left, right = (self._is_masked(index, step, between) for step in (-1, 1))
        if word.kind == "ambiguous" or term:
            falls = left or right
        elif word.text[0].isdigit():
            falls = left and not _UNIT.match(self._text, word.end)  # the end of a longer number
        else:
            falls = left and right and word.kind == "function"
        if falls:
            word.kind = ""
        return falls

    def _is_masked(self, index: int, step: int, between: str) -> bool:
        """Tell whether the word before or after is masked, and only ``between`` parts them."""
        if not 0 <= index + step < len(self.all) or self.all[index + step].kind:
            return False
        first, second = sorted((index, index + step))
        gap = self._text[self.all[first].end : self.all[second].start]
        return not gap.replace("\n", " ").strip(between)
