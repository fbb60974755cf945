"""What programmers wrote: the literals and names in the code that an error passed through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, TypeGuard, cast

from cronguard.privacy.error_code import own_code
from cronguard.privacy.error_location import is_generated, walk
from cronguard.privacy.patterns import places
from cronguard.privacy.schema_names import schema_names
from cronguard.privacy.vocabulary import vocabulary
from cronguard.process.signals import attempt

_MOST_CODES = 60
_MOST_INNER = 200
_MOST_PIECES = 2_000
_MOST_REMEMBERED = 500
_MOST_SOURCES = 20
_LONGEST_LITERAL = 1_000
_LONGEST_NAME = 60
_MOST_DIGITS = 4
_SHORTEST_CODE = 3  # an exit code such as 1 can be anything in a text

_FIELDS = re.compile(
    r"%(?:\([^)]{0,60}\))?[#0\- +]*[0-9*]*(?:\.[0-9*]+)?[hlL]?[diouxXeEfFgGcrsa]"
    r"|\{[^{}]{0,80}\}|\$\{?\w{1,60}\}?"
)
_WORD = re.compile(r"[^\W\d_]+")
_NAME = re.compile(r"[^\W\d]\w*(?:[.-]\w+)*")
_STATEMENT = re.compile(r"(?i)\s*(?:select|insert|update|delete|merge|with|create|alter|copy)\s")
_STRING = re.compile(r"'[^']*'")
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{2,62}")
_CONTAINERS = {str, tuple, list, set, frozenset, dict}
_LOADERS = ("SourceFileLoader", "zipimporter")
_METHODS = ("__init__", "__new__", "__str__", "__repr__", "__post_init__")

_traceback: Any = BaseException.__dict__["__traceback__"].__get__


@dataclass(frozen=True, slots=True)
class CodeText:
    """What may be trusted because it stands in the code."""

    segments: tuple[str, ...] = ()
    """Pieces of sentences between the fields of f-strings and templates, longest first."""
    fragments: tuple[tuple[str, str], ...] = ()
    """Pieces of a single word, and the piece of the same sentence that has to follow: of
    ``f"Mark {x} as read"`` the first says nothing about a text in which the other is not."""
    names: frozenset[str] = frozenset()
    """Attributes, variables, functions."""
    constants: frozenset[str] = frozenset()
    """Whole literals that look like a program's name, such as ``"user_id"`` or ``"READ_ONLY"``."""
    places: tuple[str, ...] = ()
    """Hosts and paths, in whole or in part."""
    codes: frozenset[str] = frozenset()
    """The errors' own codes, such as ``"23505"``."""

    def knows(self, name: str) -> bool:
        """Tell whether the code calls something by this very name."""
        return name in self.names or name in self.constants


_sources: dict[str, str] = {}
_joins: dict[tuple[int, ...], tuple[list[object], CodeText]] = {}


def code_text(errors: Sequence[BaseException]) -> CodeText:
    """Return the literals and names along the errors' tracebacks, and in their classes."""
    frames = {id(frame.f_code): frame for error in errors for frame in _frames(_traceback(error))}
    kinds = {id(type(error)): type(error) for error in errors}
    known = _joined(tuple(frames.values()), tuple(kinds.values()))
    codes = [own_code(error) or "" for error in errors]
    if not any(codes):
        return known
    schema = {name for each in zip(errors, codes, strict=True) for name in schema_names(*each)}
    shown = frozenset(code for code in codes if len(code) >= _SHORTEST_CODE)
    return replace(known, codes=shown, constants=known.constants | schema)


def _joined(frames: tuple[FrameType, ...], kinds: tuple[type, ...]) -> CodeText:
    key = (*(id(frame.f_code) for frame in frames), *map(id, kinds))
    if (found := _joins.get(key)) is not None:
        return found[1]
    called = (each for frame in frames for each in _called(frame))
    declared = (each for kind in kinds for each in _declared(kind))
    known = _text_of([*(frame.f_code for frame in frames), *called, *declared])
    if len(_joins) >= _MOST_REMEMBERED:
        _joins.clear()
    # the code and the classes are held on to, so that no other can get their ids
    _joins[key] = ([*(frame.f_code for frame in frames), *kinds], known)
    return known


def _frames(first: TracebackType | None) -> list[FrameType]:
    """Return the innermost frames, one for each piece of code."""
    frames: dict[int, FrameType] = {}
    for tb in walk(first):
        frame = tb.tb_frame
        key = id(frame.f_code)
        frames.pop(key, None)
        frames[key] = frame
        if len(frames) > _MOST_CODES:
            del frames[next(iter(frames))]
    return list(frames.values())


def _called(frame: FrameType) -> Iterator[CodeType | str]:
    """Return the functions, classes and constants of its module that the frame's code names."""
    for name in frame.f_code.co_names[:_MOST_INNER]:
        value: object = dict.get(frame.f_globals, name)
        if type(value) is FunctionType:
            yield value.__code__
        elif name.isupper() and type(value) in _CONTAINERS:
            # other variables of a module may hold data, and so may one in capitals
            texts = [value] if type(value) is str else list(cast("list[object]", value))
            source = _source(frame)
            yield from (text for text in texts[:_MOST_INNER] if _stands_in(text, source))
        elif issubclass(type(value), type):  # isinstance would ask the value itself
            yield from _declared(cast("type", value))


def _source(frame: FrameType) -> str:
    """Return the module's text as its loader finds it now; empty if there is none."""
    name, loader = frame.f_code.co_filename, frame.f_globals.get("__loader__")
    if (found := _sources.get(name)) is None:
        if len(_sources) >= _MOST_SOURCES:
            _sources.clear()
        if type(loader).__name__ in _LOADERS:  # another's could do anything
            found = attempt(lambda: cast("Any", loader).get_data(name).decode("utf-8", "replace"))
        found = _sources[name] = found or ""
    return found


def _stands_in(value: object, source: str) -> TypeGuard[str]:
    """Tell whether the module's text has it as a literal: a word, or all of a sentence's pieces."""
    if type(value) is not str or not value or len(value) > _LONGEST_LITERAL:
        return False
    if f'"{value}"' in source or f"'{value}'" in source:
        return True
    return " " in value and all(piece.strip() in source for piece in _FIELDS.split(value))


def _declared(kind: type) -> Iterator[CodeType | str]:
    """Yield what a class says: the code that makes its texts, and the names of its fields."""
    for each in type.__dict__["__mro__"].__get__(kind)[:10]:
        own = type.__dict__["__dict__"].__get__(each)
        methods = map(own.get, _METHODS)
        yield from (each.__code__ for each in methods if type(each) is FunctionType)
        fields = own.get("__annotations__")
        if type(fields) is dict:
            yield from (name for name in list(fields)[:_MOST_INNER] if type(name) is str)


def _text_of(written: Sequence[CodeType | str]) -> CodeText:
    """Return what stands in these constants and pieces of code, and in the code they hold."""
    segments, names, constants = set[str](), set[str](), set[str]()
    fragments = set[tuple[str, str]]()
    waiting = list(written)[:_MOST_PIECES]
    left = _MOST_PIECES
    while waiting and left:
        left -= 1
        current = waiting.pop()
        literals: tuple[object, ...] = (current,)
        if isinstance(current, CodeType):
            if is_generated(current):
                # made at run time, data included: only what it calls its arguments is kept
                names.update(current.co_varnames[: current.co_argcount + current.co_kwonlyargcount])
                continue
            names.update(current.co_names, current.co_varnames, current.co_freevars)
            names.add(current.co_name)
            literals = current.co_consts
        # a list of values is not a sentence: only names are taken from it
        listed = (each for many in literals if type(many) is tuple for each in many[:_MOST_INNER])
        waiting += [each for each in literals if type(each) is CodeType]
        texts = [each for each in literals if type(each) is str]
        for text in (*texts, *(each for each in listed if type(each) is str)):
            constants.update(_constants(text))
        names.update(name for text in texts for name in _schema_names(text))
        pieces = [piece for text in texts for piece in _pieces(text)]
        for piece, following in zip_longest(pieces, pieces[1:], fillvalue=""):
            if _is_fragment(piece):
                fragments.add((piece, following))
            else:
                segments.add(piece)
    return CodeText(
        tuple(sorted(segments, key=lambda each: (-len(each), each))),
        tuple(fragments),
        frozenset(names),
        frozenset(constants),
        tuple({place for each in segments for place in places(each)}),
    )


def _constants(literal: str) -> Iterator[str]:
    if 1 < len(literal) <= _LONGEST_NAME and _NAME.fullmatch(literal):
        is_name = literal.islower() or literal.isupper() or "_" in literal
        if is_name and sum(each.isdigit() for each in literal) <= _MOST_DIGITS:
            yield literal


def _schema_names(literal: str) -> Iterator[str]:
    """Return the tables and columns of a statement, without its values."""
    if len(literal) <= _LONGEST_LITERAL * 10 and _STATEMENT.match(literal):
        yield from _SCHEMA_NAME.findall(_STRING.sub(" ", literal))


def _pieces(literal: str) -> Iterator[str]:
    """Return what may be a piece of a sentence, in its order."""
    if len(literal) > _LONGEST_LITERAL:
        return
    if _is_prose(literal):
        yield literal
    if _FIELDS.search(literal):
        yield from (piece for piece in _FIELDS.split(literal) if _is_prose(piece))


def _is_fragment(piece: str) -> bool:
    """Tell whether it is one word with a capital that could be a name."""
    word = piece.strip(" ,.:;!?()[]\"'-")
    known = vocabulary()
    trusted = word in known.starters or known.kind(word) == "term"
    return word.isalpha() and not word.islower() and not trusted


def _is_prose(piece: str) -> bool:
    """Tell whether a literal differs from a value: it is several words, or one with its spacing.

    What looks like somebody's full name is taken for a value that was written into the program.
    """
    words = _WORD.findall(piece)
    if not words or piece.isidentifier():
        return False
    spaced = not piece[0].isalnum() or not piece[-1].isalnum()
    small = sum(word[0].islower() for word in words)
    begins = spaced and len(words) == 1 and not piece[0].isspace()
    if begins or 2 * small > len(words) or (spaced and small):
        return spaced or len(words) > 1
    return all(vocabulary().kind(word.lower()) == "known" for word in words)
