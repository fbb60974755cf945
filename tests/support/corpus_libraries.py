# ruff: noqa: E501  # answers of servers are long
"""Errors of real libraries: what they say when a value of ours is refused.

Each way takes the loopback servers and two values. With people as values it shows what leaks, with
a program's own names what is hidden for nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import email.message
import ftplib
import imaplib
import io
import json
import logging
import re
import smtplib
import ssl
import urllib.request
import xml.etree.ElementTree as ET
from typing import Literal

import attrs
import click
import dateutil.parser
import httpx
import jinja2
import jsonschema
import jwt
import postgrest
import psycopg
import pydantic
import redis
import requests
import slack_sdk
import sqlalchemy
import tomlkit
import urllib3
import yaml
from support.corpus import Case
from support.corpus_raisers import everything_said


class Order(pydantic.BaseModel):
    """What a job reads from a file."""

    model_config = pydantic.ConfigDict(extra="forbid")
    amount: int
    due_date: str = pydantic.Field(max_length=10)
    kind: Literal["paid", "open"] = "open"
    contact: dict[str, int] = {}


# --- HTTP -----------------------------------------------------------------------------------------


def requests_status(at, a, b):
    requests.get(f"{at.web}/404/{a}", params={"contact": b}).raise_for_status()


def requests_answer(at, a, b):
    answer = requests.post(
        f"{at.web}/422", params={"body": json.dumps({"error": "invalid_contact", "name": a})}
    )
    if not answer.ok:
        raise RuntimeError(f"contacts API said {answer.status_code}: {answer.text}")


def requests_json(at, a, b):
    requests.get(f"{at.web}/200", params={"body": f"<html>{a} {b}</html>"}).json()


def requests_refused(at, a, b):
    requests.get(f"http://127.0.0.1:9/contacts/{a}")


def requests_scheme(at, a, b):
    requests.get(f"{a}/contacts")


def requests_header(at, a, b):
    requests.get(at.web, headers={"X-Contact": f"{a}\n"})


def requests_redirects(at, a, b):
    with requests.Session() as session:
        session.max_redirects = 3
        session.get(f"{at.web}/301/{a}")


def httpx_status(at, a, b):
    httpx.get(f"{at.web}/503", params={"contact": a}).raise_for_status()


def httpx_answer(at, a, b):
    answer = httpx.get(f"{at.web}/404", params={"body": json.dumps({"detail": f"no contact {a}"})})
    if answer.is_error:
        raise RuntimeError(f"no contact: {answer.status_code} {answer.json()}")


def urllib_status(at, a, b):
    urllib.request.urlopen(f"{at.web}/401/{len(a)}")


def urllib3_refused(at, a, b):
    with urllib3.PoolManager(retries=False) as pool:
        pool.request("GET", f"http://127.0.0.1:9/{a}")


def urllib3_short(at, a, b):
    with urllib3.PoolManager(retries=1) as pool:
        pool.request("GET", f"{at.web}/short", fields={"body": a})


def slack_error(at, a, b):
    slack_sdk.WebClient(token="none", base_url=at.web + "/").users_lookupByEmail(email=a)


def supabase_key(at, a, b):
    body = {
        "message": f'invalid input syntax for type uuid: "{a}"',
        "code": "22P02",
        "hint": None,
        "details": None,
    }
    client = postgrest.SyncPostgrestClient(at.web + "/400")
    client.session.params = {"body": json.dumps(body)}
    client.from_("orders").select("*").eq("contact", b).execute()


def supabase_unique(at, a, b):
    body = {"message": 'duplicate key value violates unique constraint "kvittering_epost_key"', "code": "23505",
            "hint": None, "details": f"Key (epost)=({a}) already exists."}  # fmt: skip
    client = postgrest.SyncPostgrestClient(at.web + "/409")
    client.session.params = {"body": json.dumps(body)}
    client.from_("kvittering").insert({"epost": b}).execute()


# --- mail, files of others, Redis -----------------------------------------------------------------


def smtp_refused(at, a, b):
    port = at.lines(b"220 ready\r\n", f"550 5.1.1 <{a}> unknown\r\n".encode())
    with smtplib.SMTP("127.0.0.1", port, local_hostname="job") as server:
        server.sendmail("job@example.org", ["x@example.org"], "Hello")


def smtp_recipients(at, a, b):
    raise smtplib.SMTPRecipientsRefused({a: (550, f"5.1.1 {b} unknown".encode())})


def smtp_header(at, a, b):
    message = email.message.EmailMessage()
    message["Subject"] = f"Reminder for {a}\r\n{b}"


def imap_login(at, a, b):
    refusal = f"TAG NO [AUTHENTICATIONFAILED] Authentication failed for {a}\r\n"
    port = at.lines(
        b"* OK ready\r\n",
        b"* CAPABILITY IMAP4REV1\r\n" + refusal.replace("TAG NO", "TAG OK", 1).encode(),
    )
    server = imaplib.IMAP4("127.0.0.1", port)
    raise imaplib.IMAP4.error(server.welcome and refusal.removeprefix("TAG NO ").encode())


def ftp_missing(at, a, b):
    port = at.lines(b"220 ready\r\n", f"550 {a}.csv: No such file or directory\r\n".encode())
    ftplib.FTP().connect("127.0.0.1", port)
    client = ftplib.FTP()
    client.connect("127.0.0.1", port)
    client.voidcmd("CWD orders")


def redis_type(at, a, b):
    port = at.lines(
        b"", f"-WRONGTYPE Operation against a key holding the wrong kind of value: {a}\r\n".encode()
    )
    client = redis.Redis(port=port, protocol=2, lib_name=None, lib_version=None)
    client.execute_command("GET", "orders")


def redis_refused(at, a, b):
    once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    redis.Redis(host="127.0.0.1", port=9, socket_connect_timeout=1, retry=once).get(a)


# --- documents ------------------------------------------------------------------------------------


def pydantic_order(at, a, b):
    Order.model_validate({"amount": a, "due_date": b * 3, "contact": {a: b}})


def pydantic_extra(at, a, b):
    Order.model_validate({"amount": 1, "due_date": "x", a: b})


def pydantic_json(at, a, b):
    Order.model_validate_json(f'{{"amount": {a}}}')


def json_schema(at, a, b):
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "integer"}},
        "required": ["amount", "due_date"],
    }
    jsonschema.validate({"amount": a}, schema)


def yaml_document(at, a, b):
    yaml.safe_load(f"contacts: [{a}\nother: {b}")


def toml_document(at, a, b):
    tomlkit.parse(f"contact = {a}\nother = {b}")


def xml_document(at, a, b):
    ET.fromstring(f"<contact><{a}></contact>")


def csv_row(at, a, b):
    for number, row in enumerate(csv.DictReader(io.StringIO(f"name,amount\n{a},12\n{b},x\n")), 2):
        if not row["amount"].isdigit():
            raise ValueError(
                f"row {number}: amount of {row['name']} is no number: {row['amount']!r}"
            )


def template(at, a, b):
    jinja2.Environment(undefined=jinja2.StrictUndefined).from_string("{{ contact[name] }}").render(
        contact={}, name=a
    )


def date(at, a, b):
    dateutil.parser.parse(a)


def attrs_validator(at, a, b):
    attrs.make_class("Contact", {"age": attrs.field(validator=attrs.validators.instance_of(int))})(
        a
    )


def token(at, a, b):
    jwt.decode(a, "x" * 32, algorithms=["HS256"])


def expression(at, a, b):
    re.compile(f"({a}")


def arguments(at, a, b):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--limit", type=int)
    parser.parse_args(["--limit", a])


def option(at, a, b):
    command = click.Command("sync", params=[click.Option(["--limit"], type=int)])
    command.main(["--limit", a], standalone_mode=False)


def level(at, a, b):
    logging.getLogger("jobs").setLevel(a)


def certificate(at, a, b):
    ssl.create_default_context(cafile=f"/nowhere/{a}.pem")


# --- SQLAlchemy on SQLite -------------------------------------------------------------------------


def alchemy_unique(at, a, b):
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("create table kvittering (epost text unique, navn text)")
        )
        for _ in range(2):
            connection.execute(
                sqlalchemy.text("insert into kvittering values (:epost, :navn)"),
                {"epost": a, "navn": b},
            )


def alchemy_address(at, a, b):
    sqlalchemy.create_engine(f"{a}://{b}")


def alchemy_one(at, a, b):
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("select 1 where 1 = 0")).one()


# --- PostgreSQL -----------------------------------------------------------------------------------


def pg_syntax(at, a, b):
    at.pg.execute("select %s::int", (a,))


def pg_unique(at, a, b):
    for _ in range(2):
        at.pg.execute("insert into kvittering (epost, navn) values (%s, %s)", (a, b))


def pg_null(at, a, b):
    at.pg.execute("insert into kvittering (epost, navn) values (%s, null)", (a,))


def pg_check(at, a, b):
    at.pg.execute("insert into kvittering (epost, navn, alder) values (%s, %s, -1)", (a, b))


def pg_foreign(at, a, b):
    at.pg.execute("insert into betaling (epost) values (%s)", (a,))


def pg_long(at, a, b):
    at.pg.execute(
        "insert into kvittering (epost, navn, kort) values (%s, %s, 'much too long')", (a, b)
    )


def pg_enum(at, a, b):
    at.pg.execute("select %s::tilstand", (a,))


def pg_date(at, a, b):
    at.pg.execute("select %s::date", (a,))


def pg_column(at, a, b):
    at.pg.execute(
        psycopg.sql.SQL("select {} from kvittering").format(psycopg.sql.Identifier(a or "x"))
    )


def pg_raised(at, a, b):
    quoted = f"no contact {a} for {b}".replace("'", "''").replace("%", "%%")
    at.pg.execute(f"do $body$ begin raise exception '{quoted}'; end $body$")


def pg_table(at, a, b):
    at.pg.execute("select * from kvitteringer where epost = %s", (a,))


def pg_password(at, a, b):
    psycopg.connect(host="127.0.0.1", port=9, user=a, dbname=b, connect_timeout=1)


def alchemy_pg(at, a, b):
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=at.connect, poolclass=sqlalchemy.pool.NullPool
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(_TABLES)
        for _ in range(2):
            connection.execute(
                sqlalchemy.text("insert into kvittering (epost, navn) values (:epost, :navn)"),
                {"epost": a, "navn": b},
            )


def asyncpg_unique(at, a, b):
    import asyncpg

    async def insert():
        connection = await asyncpg.connect(at.address)
        try:
            await connection.execute(_TABLES)
            for _ in range(2):
                await connection.execute(
                    "insert into kvittering (epost, navn) values ($1, $2)", a, b
                )
        finally:
            await connection.close()

    asyncio.run(insert())


_TABLES = """
create type pg_temp.tilstand as enum ('ny', 'sendt');
create temp table kvittering (
    epost text primary key, navn text not null, alder int check (alder > 0), kort varchar(3));
create temp table betaling (epost text references kvittering (epost));
"""
_SERVED = ("pg_", "alchemy_pg", "asyncpg_")
WAYS = [
    value
    for name, value in list(globals().items())
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and not isinstance(value, type)
    and not name.startswith("_")
]


class Servers:
    """What the ways ask: the loopback servers and a database of ours with some tables in it."""

    def __init__(self, at, connect=None, address=""):
        self.web, self.lines = at.web, at.lines
        self.connect, self.address = connect, address
        self.pg = None

    def ways(self):
        """The ways that these servers can answer."""
        return [way for way in WAYS if self.connect or not way.__name__.startswith(_SERVED)]

    def fresh(self):
        """A connection with the tables in it."""
        connection = self.connect()
        connection.autocommit = True
        connection.execute(_TABLES)
        return connection

    def case(self, way, a, b):
        """What the way raises, as a case; None if it raises nothing, or nothing with a value."""
        if way.__name__.startswith("pg_"):
            self.pg = self.fresh()
        try:
            way(self, a, b)
        except BaseException as error:  # noqa: BLE001
            said = everything_said(error)
            return Case(error, said, [value for value in (a, b) if value in said], way.__name__)
        finally:
            if self.pg is not None:
                self.pg.close()
                self.pg = None
        return None
