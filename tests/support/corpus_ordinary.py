# ruff: noqa: DTZ007, PLW1510, PTH123, PTH208, SIM115, SIM905  # jobs are written like this
"""Sixty ordinary failures of ordinary jobs: what an alert has to say about each.

``facts`` are what whoever is on call needs to act; ``private`` must not be shown. ``at`` are the
servers of `corpus_libraries`.
"""

from __future__ import annotations

import configparser
import csv
import datetime
import io
import json
import os
import shutil
import smtplib
import socket
import sqlite3
import subprocess
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx
import postgrest
import psycopg
import pydantic
import redis
import requests
import slack_sdk
import sqlalchemy

ORDINARY = []
REQUIRED_COLUMNS = ("invoice_no", "amount", "due_date")
someone = dict(pair.split("=") for pair in "amount=tolv number=fire id=4711 day=2026-11-29".split())
"""As a file holds it: nothing of this stands in the code as a word of its own."""
MESSAGE = "Nothing was exported: {rows} rows in {table}"


class UpstreamError(Exception):
    """A job's own error with a status of its own."""

    def __init__(self, status, path):
        super().__init__(f"upstream answered {status} for {path}")
        self.status = status


class Invoice(pydantic.BaseModel):
    """A line of an invoice file."""

    amount: Decimal
    kvittering: int
    due_date: datetime.date
    currency: str = pydantic.Field(max_length=3)


@dataclass
class Failure:
    """One of the sixty."""

    name: str
    work: object
    facts: tuple[str, ...]
    private: tuple[str, ...]


def ordinary(*facts, private=()):
    def note(work):
        private_values = (private,) if isinstance(private, str) else private
        ORDINARY.append(Failure(work.__name__, work, facts, private_values))
        return work

    return note


# --- HTTP -----------------------------------------------------------------------------------------


@ordinary("503")
def requests_answers_503(at):
    requests.get(f"{at.web}/503/feeds").raise_for_status()


@ordinary("401", "Unauthorized")
def httpx_answers_401(at):
    httpx.get(f"{at.web}/401/accounts/7712").raise_for_status()


@ordinary("404", "Not Found")
def urllib_answers_404(at):
    urllib.request.urlopen(f"{at.web}/404/export.csv")


@ordinary("Connection refused", "9")
def api_is_down(at):
    requests.get("http://127.0.0.1:9/api/health")


@ordinary("timed out", "0.05")
def api_does_not_answer(at):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        requests.get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.05)


@ordinary("line 1", "column 1")
def api_answers_html(at):
    httpx.get(f"{at.web}/200", params={"body": "<html>maintenance</html>"}).json()


@ordinary("API returned", "503")
def own_sentence_about_a_status(at):
    answer = requests.get(f"{at.web}/503")
    if not answer.ok:
        raise RuntimeError(f"API returned {answer.status_code}")


@ordinary("422", "invalid_iban", private="Kari Nordmann")
def own_sentence_with_the_answer(at):
    body = json.dumps({"error": "invalid_iban", "holder": "Kari Nordmann"})
    answer = httpx.post(f"{at.web}/422", params={"body": body})
    raise RuntimeError(f"payment rejected, status {answer.status_code}: {answer.text}")


@ordinary("users_not_found")
def slack_refuses(at):
    slack_sdk.WebClient(token="none", base_url=at.web + "/").users_list()


@ordinary("upstream answered", "502", "/v2/customers/", private="4711")
def own_error_class(at):
    raise UpstreamError(502, f"/v2/customers/{someone['id']}")


@ordinary("after", "5", "attempts")
def own_retries_are_used_up(at):
    for attempt in range(1, 6):
        try:
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        except OSError as error:
            if attempt == 5:
                raise RuntimeError(f"gave up on the price feed after {attempt} attempts") from error


@ordinary("rate limit", "60")
def own_rate_limit(at):
    wait = 60
    raise RuntimeError(f"rate limit of the geocoder reached, next try in {wait} s")


# --- SQL ------------------------------------------------------------------------------------------


@ordinary("no such table", "invoices")
def sqlite_table_is_missing(at):
    with sqlite3.connect(":memory:") as db:
        db.execute("select * from invoices")


@ordinary("UNIQUE", "kvitteringer.epost")
def sqlite_is_not_unique(at):
    with sqlite3.connect(":memory:") as db:
        db.execute("create table kvitteringer (epost unique)")
        db.executemany("insert into kvitteringer values (?)", [("kari@example.com",)] * 2)


@ordinary("database is locked")
def sqlite_is_locked(at):
    with tempfile.TemporaryDirectory() as folder:
        one, two = (sqlite3.connect(f"{folder}/x.db", timeout=0.01) for _ in range(2))
        try:
            one.execute("begin immediate")
            two.execute("begin immediate")
        finally:
            one.close()
            two.close()


@ordinary("kvittering_pkey", "epost", private="kari@example.com")
def postgres_is_not_unique(at):
    for _ in range(2):
        at.pg.execute("insert into kvittering values ('kari@example.com', 'Kari')")


@ordinary("navn", "kvittering", "not-null", private="kari@example.com")
def postgres_value_is_missing(at):
    at.pg.execute("insert into kvittering (epost) values (%s)", ("kari@example.com",))


@ordinary("betaling_epost_fkey", private="ola@example.com")
def postgres_reference_is_missing(at):
    at.pg.execute("insert into betaling values (%s)", ("ola@example.com",))


@ordinary("kvittering_alder_check", private="Kari")
def postgres_check_fails(at):
    at.pg.execute("insert into kvittering values ('a', 'Kari', -1)")


@ordinary("relation", "utsendelser")
def postgres_table_is_missing(at):
    at.pg.execute("select epost from utsendelser")


@ordinary("statement timeout")
def postgres_takes_too_long(at):
    at.pg.execute("set statement_timeout = 10")
    at.pg.execute("select pg_sleep(2)")


@ordinary("type integer", private="Nordmann")
def postgres_gets_a_word(at):
    at.pg.execute("select %s::int", ("Nordmann",))


@ordinary("permission denied", "kvittering_lukket")
def postgres_forbids(at):
    at.pg.execute("create temp table kvittering_lukket (a int)")
    at.pg.execute("create role leser_ordinary")
    at.pg.execute("set role leser_ordinary")
    try:
        at.pg.execute("select * from kvittering_lukket")
    finally:
        at.pg.execute("reset role")
        at.pg.execute("drop role leser_ordinary")


@ordinary("Connection refused", "port 9")
def postgres_is_down(at):
    psycopg.connect(host="127.0.0.1", port=9, user="app", connect_timeout=1)


@ordinary("UNIQUE", "ordre.nummer", private="Nordmann")
def alchemy_is_not_unique(at):
    with sqlalchemy.create_engine("sqlite://").begin() as connection:
        connection.exec_driver_sql("create table ordre (nummer unique, kunde)")
        for _ in range(2):
            connection.exec_driver_sql("insert into ordre values (?, ?)", (7, "Nordmann"))


@ordinary("23505", "kvittering_epost_key", private="kari@example.com")
def supabase_is_not_unique(at):
    body = {
        "message": 'duplicate key value violates unique constraint "kvittering_epost_key"',
        "code": "23505",
        "hint": None,
        "details": "Key (epost)=(kari@example.com) already exists.",
    }
    client = postgrest.SyncPostgrestClient(at.web + "/409")
    client.session.params = {"body": json.dumps(body)}
    client.from_("kvittering").insert({}).execute()


@ordinary("PGRST205", "utsendelser")
def supabase_table_is_missing(at):
    body = {
        "message": "Could not find the table 'public.utsendelser' in the schema cache",
        "code": "PGRST205",
        "hint": None,
        "details": None,
    }
    client = postgrest.SyncPostgrestClient(at.web + "/404")
    client.session.params = {"body": json.dumps(body)}
    client.from_("utsendelser").select("*").execute()


@ordinary("WRONGTYPE")
def redis_key_is_of_another_type(at):
    port = at.lines(b"", b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")
    redis.Redis(port=port, protocol=2, lib_name=None, lib_version=None).get("queue")


@ordinary("table", "utsendelser", "empty")
def own_table_is_empty(at):
    for table in ("kvittering", "utsendelser"):
        if table == "utsendelser":
            raise RuntimeError(f"table {table} is empty")


@ordinary("0", "rows", "orders")
def own_template(at):
    raise RuntimeError(MESSAGE.format(rows=0, table="orders"))


# --- files ----------------------------------------------------------------------------------------


@ordinary("No such file or directory", "ENOENT", "/srv/exports/", "/customers.csv")
def file_is_missing(at):
    open(f"/srv/exports/{someone['day']}/customers.csv")


@ordinary("Not a directory")
def folder_is_a_file(at):
    os.listdir(__file__)


@ordinary("not a zip file")
def archive_is_none(at):
    zipfile.ZipFile(io.BytesIO(b"no"))


@ordinary("97", "% full")
def own_disk_is_full(at):
    total, used, _ = shutil.disk_usage("/")
    share = 97 if used < total else 100
    raise RuntimeError(f"disk is {share}% full")


@ordinary("backup", "12", "MB")
def own_backup_is_small(at):
    raise RuntimeError(f"backup of {Path(tempfile.gettempdir())} has only {12} MB")


@ordinary("database")
def setting_is_missing(at):
    configparser.ConfigParser().get("database", "host")


@ordinary("REPORT_BUCKET_X")
def variable_is_missing(at):
    os.environ["REPORT_BUCKET_X"]


@ordinary("missing environment variable", "REPORT_BUCKET_X")
def own_variable_is_missing(at):
    for name in ("PATH", "REPORT_BUCKET_X"):
        if name not in os.environ:
            raise SystemExit(f"missing environment variable {name}")


# --- e-mail ---------------------------------------------------------------------------------------


@ordinary("535", "5.7.8", private="robot@example.com")
def mail_login_fails(at):
    raise smtplib.SMTPAuthenticationError(
        535, b"5.7.8 Username and Password not accepted: robot@example.com"
    )


@ordinary("550", "5.1.1", private="kari")
def mail_recipient_is_refused(at):
    raise smtplib.SMTPRecipientsRefused({"kari@example.com": (550, b"5.1.1 unknown user kari")})


@ordinary("Connection refused")
def mail_server_is_down(at):
    smtplib.SMTP("127.0.0.1", 9, timeout=1)


@ordinary("3", "40", "reminders")
def own_some_mails_failed(at):
    failed = ["kari@example.com", "ola@example.com", "per@example.com"]
    raise RuntimeError(f"{len(failed)} of {40} reminders failed")


@ordinary("not sent", "550", private=("Kari Nordmann", "kari@example.com"))
def own_mail_failed(at):
    name, address, code = "Kari Nordmann".title(), "kari@example.com", 550
    raise RuntimeError(f"reminder to {name} <{address}> not sent: {code}")


# --- CSV, documents -------------------------------------------------------------------------------


@ordinary("invoice_no")
def column_is_missing(at):
    next(csv.DictReader(io.StringIO("a,b\n1,2\n")))["invoice_no"]


@ordinary("due_date", "invoice_no")
def own_columns_are_missing(at):
    found = next(csv.reader(io.StringIO("amount,name\n")))
    missing = sorted(set(REQUIRED_COLUMNS) - set(found))
    raise ValueError(f"missing columns: {missing}")


@ordinary("row", "7", "amount", private=("Kari", "unbekannt"))
def own_row_is_bad(at):
    row = next(csv.DictReader(io.StringIO("name,amount\nKari,unbekannt\n")))
    raise ValueError(f"row {7}: amount of {row['name']} is not a number: {row['amount']}")


@ordinary("base 10", private="tolv")
def number_is_a_word(at):
    int(someone["amount"])


@ordinary("%Y-%m-%d", private="04.07.1984")
def date_is_of_another_form(at):
    datetime.datetime.strptime("04.07.1984", "%Y-%m-%d")


@ordinary("0xe5", "position 1", "utf-8")
def text_is_latin1(at):
    "Pål".encode("latin-1").decode("utf-8")


@ordinary("expected 12", "got 7")
def own_count_is_off(at):
    fields = "a;b;c;d;e;f;g".split(";")
    raise ValueError(f"expected {12} fields, got {len(fields)}")


# --- commands -------------------------------------------------------------------------------------


@ordinary("exit status 3", "sh")
def command_fails(at):
    subprocess.run(["sh", "-c", f"exit {len('abc')}"], check=True)


@ordinary("SIGKILL", "sh")
def command_is_killed(at):
    subprocess.run(["sh", "-c", "kill -9 $$"], check=True)


@ordinary("timed out", "sleep", "0.0")
def command_takes_too_long(at):
    subprocess.run(["sleep", "3"], timeout=0.05)


@ordinary("pg_dump", "1")
def own_command_fails(at):
    done = subprocess.run(["false"])
    raise RuntimeError(f"pg_dump ended with exit code {done.returncode}")


# --- pydantic, tables -----------------------------------------------------------------------------


@ordinary("Invoice", "kvittering", "int_parsing", private="fire")
def model_gets_a_word(at):
    Invoice.model_validate(
        {"amount": 1, "kvittering": someone["number"], "due_date": "2026-01-01", "currency": "NOK"}
    )


@ordinary("due_date", "Field required", "currency")
def model_lacks_fields(at):
    Invoice.model_validate({"amount": 1, "kvittering": 4})


@ordinary("due_date", "not in index")
def frame_has_no_such_column(at):
    def take(frame, wanted):
        missing = [each for each in wanted if each not in frame]
        raise KeyError(f"{missing} not in index")

    take({"amount": 1}, ["amount", "due_date"])


@ordinary("Length of values (3)", "index (4)")
def frame_has_another_length(at):
    raise ValueError(f"Length of values ({3}) does not match length of index ({4})")


@ordinary("assignment_id")
def key_is_missing(at):
    {"id": 1}["assignment_id"]


@ordinary("NoneType", "status")
def value_is_none(at):
    answer = None
    return answer.status
