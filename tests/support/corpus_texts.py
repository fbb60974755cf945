"""Messages as servers and other people's programs write them; ``<a>`` and ``<b>`` are values."""

from __future__ import annotations

DATABASE = [
    (
        'duplicate key value violates unique constraint "members_email_key"\nDETAIL:  Key '
        "(email)=(<a>) already exists."
    ),
    (
        'null value in column "phone" of relation "members" violates not-null constraint\n'
        "DETAIL:  Failing row contains (7, <a>, <b>, null)."
    ),
    'invalid input syntax for type integer: "<a>"',
    (
        'invalid input syntax for type date: "<a>"\nLINE 1: select * from members where bo'
        "rn = '<a>'\n                                               ^"
    ),
    (
        'insert or update on table "members" violates foreign key constraint "members_cit'
        'y_fkey"\nDETAIL:  Key (city, name)=(<a>, <b>) is not present in table "cities".'
    ),
    (
        'new row for relation "members" violates check constraint "members_age_check"\nDET'
        "AIL:  Failing row contains (<a>, <b>)."
    ),
    'password authentication failed for user "<a>"',
    'role "<a>" does not exist',
    'invalid input value for enum status: "<a>"',
    'relation "<a>" does not exist\nLINE 1: SELECT * FROM <a>\n                      ^',
    (
        'syntax error at or near "<a>"\nLINE 3: ... where name = <a> and x\n               '
        "          ^"
    ),
    (
        'column "<a>" does not exist\nHINT:  Perhaps you meant to reference the column "me'
        'mbers.<b>".'
    ),
    "value too long for type character varying(10): <a>",
    (
        "{'code': '23505', 'details': 'Key (email)=(<a>) already exists.', 'hint': None, "
        "'message': 'duplicate key value violates unique constraint \"members_email_key\"'}"
    ),
    (
        "{'message': 'invalid input syntax for type uuid: \"<a>\"', 'code': '22P02', 'hint'"
        ": None, 'details': None}"
    ),
    (
        "(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint "
        '"members_pkey"\n[SQL: INSERT INTO members (name, phone) VALUES (%(name)s, %(phone'
        ")s)]\n[parameters: {'name': '<a>', 'phone': '<b>'}]\n(Background on this error at:"
        " https://sqlalche.me/e/20/gkpj)"
    ),
    "(1062, \"Duplicate entry '<a>' for key 'members.email'\")",
    "UNIQUE constraint failed: members.email, value <a>",
]

PROSE = [
    "<a> is not a member of <b>",
    "<a> has not confirmed the appointment",
    "User <a> not found",
    "Could not deliver message to <a> (<b>)",
    "Invalid recipient: <a>",
    "recipient=<a> status=bounced reason=mailbox full",
    "user=<a>; ip=<b>; login failed",
    "Mailbox unavailable: 550 5.1.1 <<a>>: Recipient address rejected: User unknown in table",
    "<a>",
    "<a> <b>",
    "<a>\n<b>",
    '"<a>" <<b>>',
    "Dear <a>, your subscription has expired",
    "patient <a> was admitted to <b> yesterday",
    "Medlem <a> har ikke svart på melding om <b>",
    "Le client <a> n'a pas de numéro valide : <b>",
    "El usuario <a> no existe en <b>",
    'http error 422: {"errors":[{"field":"name","value":"<a>"}],"contact":"<b>"}',
    '{"status": 400, "title": "Bad Request", "detail": "No contact with id <a>"}',
    "<?xml version='1.0'?><fault><name><a></name><reason>unknown</reason></fault>",
    "S3 object s3://exports/<a>/<b>.csv not found",
    "file /home/<a>/reports/<b>.csv is not readable",
    "cannot parse line 7: 1;<a>;<b>;2024-01-01",
    "SMTPRecipientsRefused: {'<a>': (550, b'5.1.1 <b> unknown')}",
    "assignment 4711 for <a> is overdue, mentor is <b>",
    "call with <a> on <b> failed",
    "to <a> from <b>",
    "no answer from <a> or <b> in time",
    "Error: <a> does not live in <b> any more",
    (
        'Traceback (most recent call last):\n  File "/home/<a>/job.py", line 3, in main\nVa'
        "lueError: <b>"
    ),
]
