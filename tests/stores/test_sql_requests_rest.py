"""What a Supabase project answers over HTTP to requests that cannot be: the same refusals, as JSON.

PostgREST stands before the functions: what it refuses itself has a code of its own.
"""

import http.client
import json
import random
from urllib.parse import quote, urlsplit

import pytest
from support.sql_requests import DOCUMENTED, drawn, works

from cronguard.stores.server.supabase import SupabaseStore

pytestmark = pytest.mark.one_python

BEFORE = {
    "22003",  # a number that no database can hold
    "22P05",  # text that no database can hold
    "25006",  # asked by GET, which may only read
    "42883",  # arguments that no function has, as PostgREST 12 says it
    "PGRST101",  # a method that calls nothing
    "PGRST102",  # a body that is no JSON
    "PGRST103",  # a range that there is not
    "PGRST106",  # another schema
    "PGRST107",  # an answer of another kind
    "PGRST122",  # preferences that there are not
    "PGRST202",  # arguments that no function has
}
"""Codes with which PostgreSQL or PostgREST refuses what then reaches no function."""
SECRET = "sk-live-5f0b8ad5-not-to-be-seen"


class Rest:
    """One connection to a project's API, with the service key."""

    def __init__(self, project):
        self.project = project
        self.connection = http.client.HTTPConnection(urlsplit(project.url).netloc, timeout=60)

    def ask(self, name, body, *, method="POST", query="", **headers):
        """Return (status, what the JSON of a refusal says)."""
        sent = {
            "apikey": self.project.service_key,
            "Content-Type": "application/json",
            "Accept": "application/json",
        } | {key.replace("_", "-"): value for key, value in headers.items()}
        path = f"/rest/v1/rpc/cronguard_{name}{query}"
        self.connection.request(method, path, body, sent)
        answer = self.connection.getresponse()
        text = answer.read()
        assert SECRET.encode() not in text
        return answer.status, json.loads(text) if answer.status >= 300 else None


@pytest.fixture
def rest(project):
    asked = Rest(project)
    yield asked
    asked.connection.close()


def broken(chance, text):
    """Return a body that is not as JSON has it, or says more or less than one request."""
    place = chance.randrange(len(text))
    kind = chance.randrange(12)
    if kind == 0:
        return text[:place].encode()
    if kind == 1:
        return (text[:place] + chance.choice('{}[]",:\\\x00\x1f') + text[place:]).encode()
    if kind == 2:
        return text[:place].encode() + chance.randbytes(3) + text[place:].encode()
    made = [
        text.replace("-", "\\u0000", 1),
        text.replace("-", "\\ud800", 1),
        text.replace("1", "1e999", 1),
        text.replace("5", "9" * 5_000, 1),
        f"[{text}]",
        f"[{text}, {text}]",
        text.replace('"request"', '"Request"'),
        text[:-1] + f', "more": "{SECRET}"}}',
        text[:-1] + ', "request": {}}',
    ]
    return made[kind - 3].encode("utf-8", "surrogatepass")


HEADERS = (
    {},
    {"Prefer": "params=single-object"},
    {"Prefer": "tx=rollback, count=exact, return=minimal"},
    {"Prefer": "handling=strict, nonsense=1"},
    {"Range": "5-2"},
    {"Range": "1000000-"},
    {"Accept": "text/csv"},
    {"Accept": "application/vnd.pgrst.object+json"},
    {"Accept": "image/png"},
    {"Content_Type": "text/plain"},
    {"Content_Type": "application/octet-stream"},
    {"Content_Profile": "vault"},
)


def http_request(chance):
    """Return the name of a function, a body, and how it is sent."""
    name, request = drawn(chance)
    text = json.dumps({"request": request})
    shape = chance.random()
    if shape < 0.6:
        return name, text.encode(), {}
    if shape < 0.8:
        return name, broken(chance, text), {}
    if shape < 0.93:
        return name, text.encode(), dict(chance.choice(HEADERS))
    # No HEAD: after one, PostgREST 12 closes the connection unasked.
    method = chance.choice(("GET", "PUT", "PATCH", "DELETE"))
    asked = f"?request={quote(json.dumps(request))[:4000]}"
    return name, None, {"method": method, "query": chance.choice(("", "?select=job", asked))}


@pytest.mark.parametrize(
    ("seed", "requests"),
    [
        (1, 400),
        pytest.param(2, 3_000, marks=pytest.mark.long),
        pytest.param(3, 10_000, marks=pytest.mark.soak),
    ],
    ids=["few", "many", "all"],
)
def test_whatever_is_asked_over_http(rest, project, seed, requests):
    """Is answered or refused as documented, in JSON; then all works for this job and the others."""
    chance = random.Random(seed)
    for _ in range(requests):
        name, body, how = http_request(chance)
        status, said = rest.ask(name, body, **how)
        known = status < 300 or said.get("code") in DOCUMENTED | BEFORE
        assert known, (name, body, how, status, said)
    store = SupabaseStore(project.url, project.service_key)
    works(store, "a")
    works(store, "other")
    store.close()
