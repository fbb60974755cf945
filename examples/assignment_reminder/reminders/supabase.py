"""The association's database in a Supabase project, through PostgREST with the service role."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice
from types import TracebackType
from typing import Any, Self

import httpx

from reminders.repository import (
    Assignment,
    Batch,
    Cursor,
    Disagreement,
    DueRule,
    Reminder,
    RepositoryError,
    Reserved,
    SetupError,
)

TIMEOUT_SECONDS = 30
ROWS_A_REQUEST = 5_000
MISSING_FUNCTION = {"42883", "PGRST202"}
REFUSED = {"42501", "PGRST301", "PGRST303"}


class SupabaseRepository:
    """See `repository.Repository`."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=f"{url.rstrip('/')}/rest/v1",
            headers={"apikey": key, "Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_SECONDS,
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Take address and key from the variables that cronguard's own store uses.

        Raises:
            SetupError: One of them is not set.
        """
        url = os.environ.get("SUPABASE_URL")
        key = os.environ.get("SUPABASE_SECRET_KEY") or os.environ.get("SUPABASE_SERVICE_ROLE_KEY")
        if not url or not key:
            raise SetupError(
                "set SUPABASE_URL, and SUPABASE_SECRET_KEY to the project's secret key"
            )
        return cls(url, key)

    def count_due(self, rule: DueRule) -> int:
        """Count what is neither sent nor reserved."""
        return int(self._call("reminder_count_due", _rule(rule)))

    def reserve(
        self,
        rule: DueRule,
        holder: str,
        lease: timedelta,
        limit: int,
        *,
        after: Cursor | None = None,
    ) -> Batch:
        """Reserve the next batch; the unique key decides between those who ask together."""
        request = _rule(rule) | _hold(holder, lease, limit)
        if after:
            request |= {
                "after_date": str(after.last_contact_date),
                "after_id": after.assignment_id,
            }
        answer = self._call("reminder_reserve", request)
        last = answer["last"] and Cursor(date.fromisoformat(answer["last"][0]), answer["last"][1])
        return Batch(_reminders(answer["reminders"]), last)

    def take_over(
        self, rule: DueRule, holder: str, lease: timedelta, limit: int
    ) -> Sequence[Reminder]:
        """Reserve anew what is ours or has expired."""
        request = _rule(rule) | _hold(holder, lease, limit)
        return _reminders(self._call("reminder_take_over", request))

    def reserved(self) -> Reserved | None:
        """Count reservations, and look at the earliest."""
        count, seconds = self._call("reminder_reserved")
        return Reserved(count, seconds) if count else None

    def mark_sent(self, reminders: Sequence[Reminder]) -> None:
        """Note them as sent, in one request."""
        if reminders:
            sent = [[r.assignment_id, str(r.due_on)] for r in reminders]
            self._call("reminder_mark_sent", {"reminders": sent})

    def release(self, holder: str) -> None:
        """Delete the holder's reservations."""
        self._call("reminder_release", {"holder": holder})

    def add_assignments(self, assignments: Iterable[Assignment]) -> None:
        """Insert them, some thousands a request."""
        rows = (
            {
                "mentor": each.mentor,
                "phone": each.phone,
                "assigned_on": str(each.assigned_on),
                "last_contact_date": str(each.assigned_on),
            }
            for each in assignments
        )
        while chunk := list(islice(rows, ROWS_A_REQUEST)):
            self._request("POST", "/assignments", json=chunk)

    def count_assignments(self) -> int:
        """Ask for a count and no row."""
        counted = {"Prefer": "count=exact", "Range": "0-0"}
        answer = self._request("GET", "/assignments?select=id", headers=counted)
        return int(answer.headers["Content-Range"].rpartition("/")[2])

    def assignments_due(self, rule: DueRule, limit: int) -> Sequence[int]:
        """Look at dates alone."""
        where = f"last_contact_date=lte.{rule.latest_contact}&order=last_contact_date,id"
        rows = self._request("GET", f"/assignments?select=id&{where}&limit={limit}").json()
        return [row["id"] for row in rows]

    def register(self, assignment_ids: Sequence[int], on: date, registered_by: str) -> None:
        """Insert activities; a trigger moves the dates."""
        request = {"assignment_ids": list(assignment_ids), "on": str(on)}
        self._call("reminder_register", request | {"registered_by": registered_by})

    def disagreements(self) -> Sequence[Disagreement]:
        """Compare every assignment with the view of expected dates."""
        return [
            Disagreement(id_, date.fromisoformat(found), date.fromisoformat(expected))
            for id_, found, expected in self._call("reminder_disagreements")
        ]

    def mend(self) -> int:
        """Set what differs to what the view says."""
        return int(self._call("reminder_mend"))

    def _call(self, function: str, request: Mapping[str, object] | None = None) -> Any:
        body = {} if request is None else {"request": request}
        answer = self._request("POST", f"/rpc/{function}", json=body)
        return answer.json() if answer.content else None

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask PostgREST; of what it answers to an error only the code is kept."""
        try:
            answer = self._client.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RepositoryError("Supabase cannot be reached") from error
        try:
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            code = _code(answer)
            if code in MISSING_FUNCTION or answer.status_code == httpx.codes.NOT_FOUND:
                raise SetupError(
                    "this project lacks the reminder's tables or functions;"
                    " run: assignment-reminder init --store supabase"
                ) from error
            if code in REFUSED or answer.status_code == httpx.codes.UNAUTHORIZED:
                raise SetupError("Supabase refused the key: it must be the secret key") from error
            raise RepositoryError(f"Supabase refused with code {code}") from error
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()


def _code(answer: httpx.Response) -> str:
    """Return the error's code; the texts beside it may hold a row's values."""
    try:
        code = answer.json()["code"]
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
    return code if isinstance(code, str) and code.isalnum() else str(answer.status_code)


def _rule(rule: DueRule) -> dict[str, object]:
    return {"latest": str(rule.latest_contact), "remind_after": rule.remind_after.days}


def _hold(holder: str, lease: timedelta, limit: int) -> dict[str, object]:
    return {"holder": holder, "lease": lease.total_seconds(), "limit": limit}


def _reminders(rows: Sequence[Sequence[Any]]) -> list[Reminder]:
    return [Reminder(row[0], date.fromisoformat(row[1]), row[2], row[3]) for row in rows]
