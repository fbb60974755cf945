# ruff: noqa: DTZ007, FLY002, PTH123, TRY301, UP031, UP032  # people's code is like that
"""Ways in which a job says what went wrong, with one or two values in it."""

from __future__ import annotations

import ast
import asyncio
import codecs
import configparser
import datetime
import decimal
import enum
import fractions
import importlib
import ipaddress
import json
import shlex
import sqlite3
import subprocess
import uuid
import zoneinfo
from dataclasses import make_dataclass

import httpx
import pydantic
from support.corpus_texts import DATABASE, PROSE


class Color(enum.Enum):
    RED = 1


class Member(pydantic.BaseModel):
    email: int
    age: int


class DeliveryError(Exception):
    """An exception that builds its own message."""

    def __init__(self, name, address):
        super().__init__(name, address)
        self.name, self.address = name, address

    def __str__(self):
        return f"delivery to {self.name} at {self.address} was not possible"


def everything_said(error, depth=0):
    """All text of an exception: its own, its notes', its causes' and its members'."""
    if error is None or depth > 3:
        return ""
    parts = [str(error), *getattr(error, "__notes__", ())]
    parts += [everything_said(each, depth + 1) for each in getattr(error, "exceptions", ())]
    parts += [everything_said(each, depth + 1) for each in (error.__cause__, error.__context__)]
    return "\n".join(part for part in parts if part)


def throw(text):
    raise RuntimeError(text)


# --- sentences written where they are raised ----------------------------------------------------


def fstring(a, b):
    raise RuntimeError(f"could not notify {a} about the assignment of {b}")


def fstring_repr(a, b):
    raise ValueError(f"unknown member {a!r} in group {b!r}")


def fstring_short(a, b):
    raise ValueError(f"{a}: {b}")


def fstring_norwegian(a, b):
    raise RuntimeError(f"Kunne ikke sende påminnelse til {a} på {b}, prøver igjen")


def fstring_german(a, b):
    raise RuntimeError(f"Benachrichtigung an {a} fehlgeschlagen: {b} ungültig")


def fstring_long(a, b):
    raise RuntimeError(
        f"payment for customer {a} was rejected by the bank after 3 attempts, contact {b} please"
    )


def percent(a, b):
    raise ValueError("user %s has no e-mail, tried %s" % (a, b))


def formatted(a, b):
    raise ValueError("reminder for {} not sent to {name}".format(a, name=b))


def concatenated(a, b):
    raise ValueError("cannot find " + a + " in list of " + b)


def joined(a, b):
    raise ValueError(", ".join(["missing contact", a, b]))


def several_arguments(a, b):
    raise ValueError("no such customer", a, b)


def mapping(a, b):
    raise ValueError({"name": a, "reason": "rejected", "contact": b})


def bare(a, b):
    raise ValueError(a)


def bare_pair(a, b):
    raise ValueError(a, b)


def own_class(a, b):
    raise DeliveryError(a, b)


def data_class(a, b):
    raise ValueError(f"bad row {make_dataclass('Row', ['name', 'phone'])(a, b)}")


def asserted(a, b):
    if a:
        raise AssertionError(f"expected {a} to equal {b}")


def system_exit(a, b):
    raise SystemExit(f"giving up on {a} ({b})")


# --- notes, causes, groups ----------------------------------------------------------------------


def noted(a, b):
    error = RuntimeError("job failed")
    error.add_note(f"while working on {a}")
    error.add_note(b)
    raise error


def caused(a, b):
    try:
        {}[a]
    except KeyError as error:
        raise RuntimeError(f"sync failed for {b}") from error


def caused_quoted(a, b):
    try:
        int(a)
    except ValueError as error:
        raise RuntimeError(f"row {b} skipped: {error}") from error


def in_context(a, b):
    try:
        raise LookupError(a)
    except LookupError:
        raise RuntimeError(f"no contact for {b}")  # noqa: B904


def grouped(a, b):
    raise ExceptionGroup(f"2 reminders failed for {a}", [ValueError(a), RuntimeError(b)])


def in_task_group(a, b):
    async def send(to):
        raise ConnectionError(f"cannot reach {to}")

    async def run():
        async with asyncio.TaskGroup() as group:
            group.create_task(send(a))
            group.create_task(send(b))

    asyncio.run(run())


# --- the standard library, fed with a value -----------------------------------------------------


def key(a, b):
    return {}[a]


def integer(a, b):
    return int(a)


def floating(a, b):
    return float(a)


def number(a, b):
    return decimal.Decimal(a)


def fraction(a, b):
    return fractions.Fraction(a)


def moment(a, b):
    return datetime.datetime.strptime(a, "%Y-%m-%d")


def iso_date(a, b):
    return datetime.date.fromisoformat(a)


def document(a, b):
    return json.loads(f'{{"name": {a}}}')


def not_serializable(a, b):
    return json.dumps({a: object()})


def missing_file(a, b):
    return open(a + ".does-not-exist")


def attribute(a, b):
    return getattr(object(), a)


def module(a, b):
    return importlib.import_module(a.replace(".", "_") or "x")


def member(a, b):
    return Color(a)


def removed(a, b):
    [].remove(a)


def position(a, b):
    return (b + "x",).index(a)


def address(a, b):
    return ipaddress.ip_address(a)


def unique_id(a, b):
    return uuid.UUID(a)


def zone(a, b):
    return zoneinfo.ZoneInfo(a)


def codec(a, b):
    return codecs.lookup(a)


def ascii_only(a, b):
    return (a + "\u00e5").encode("ascii")


def section(a, b):
    return configparser.ConfigParser().get(a, b)


def literal(a, b):
    return ast.literal_eval(a + " (")


def quoting(a, b):
    return shlex.split(a + " '")


def command(a, b):
    subprocess.run(["false", a, b], check=True)


def no_command(a, b):
    subprocess.run(["/nowhere/" + a, b], check=True)


def keyword(a, b):
    dict.fromkeys(**{a: b})


# --- other libraries ----------------------------------------------------------------------------


def sqlite_syntax(a, b):
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"select * from members where name = {a}")
    finally:
        connection.close()


def sqlite_table(a, b):
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f'select "{b}" from "{a}"')
    finally:
        connection.close()


def validation(a, b):
    Member.model_validate({"email": a, "age": b})


def validation_of_keys(a, b):
    pydantic.TypeAdapter(dict[str, int]).validate_python({a: b})


def http_status(a, b):
    request = httpx.Request("GET", httpx.URL("https://example.org/", params={"q": a, "x": b}))
    httpx.Response(404, request=request).raise_for_status()


def http_url(a, b):
    httpx.Client().get(f"htp://{a}/{b}")


# --- sentences from elsewhere -------------------------------------------------------------------


def _ready_made(name, template):
    def raiser(a, b):
        throw(template.replace("<a>", a).replace("<b>", b))

    raiser.__name__ = name
    return raiser


_HELPERS = {"everything_said", "throw", "make_dataclass"}
ALL = [
    *(
        value
        for name, value in list(globals().items())
        if callable(value)
        and getattr(value, "__module__", "") == __name__
        and not isinstance(value, type)
        and not name.startswith("_")
        and name not in _HELPERS
    ),
    *(_ready_made(f"database_{i}", text) for i, text in enumerate(DATABASE)),
    *(_ready_made(f"prose_{i}", text) for i, text in enumerate(PROSE)),
]
