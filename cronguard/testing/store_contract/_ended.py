"""The store contract on runs that have ended and whose outcomes the store has not taken yet."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from cronguard.core.clock import new_id
from cronguard.core.model import Owner, Run
from cronguard.testing.store_contract._case import (
    HERE,
    THERE,
    StoreCase,
    everybody_died,
    everybody_lives,
)

BESIDE = Owner("host-a", 200, "space-a", "2")
CALLS = ("start", "heartbeat", "sweep")


class Judge:
    """It says that everybody died, and notes whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[Owner] = []

    def __call__(self, owner: Owner) -> bool:
        self.asked.append(owner)
        return True


class Ended(StoreCase):
    """Runs that their process names as ``ended``: they hold nothing, and are not dead."""

    def name(
        self,
        call: str,
        ended: Collection[str],
        *,
        job: str | None = None,
        owner: Owner = HERE,
        is_dead: Callable[[Owner], bool] = everybody_lives,
    ) -> None:
        """Name runs that have ended, by one of `CALLS`; a start is of ``job``."""
        if call == "start":
            run = self.run(job, owner=owner)
            self.store.start_run(run, is_dead=is_dead, ended=ended)
            self.finish(run, "cancelled")
        elif call == "heartbeat":
            self.store.heartbeat([], lease=90.0, ended=ended)
        else:
            self.store.sweep(owner, is_dead=is_dead, ended=ended)

    def waiting(self, **changes: Any) -> Run:
        """A run that has ended without the store hearing of it."""
        run = self.run(**changes)
        self.start(run)
        return run

    @pytest.mark.parametrize("owner", [HERE, BESIDE, THERE], ids=["same", "beside", "away"])
    @pytest.mark.parametrize("call", CALLS)
    def test_an_ended_run_gives_up_its_lease(self, call: str, owner: Owner) -> None:
        """At once, for the next run of every process and host."""
        waiting = self.waiting()
        assert self.start(self.run(owner=owner)).held_by == waiting.run_id
        self.name(call, [waiting.run_id])
        assert self.start(self.run(owner=owner)).status == "running"
        assert self.shown(waiting).status == "running"

    def test_the_start_that_names_a_run_is_the_next_to_run(self) -> None:
        """It need not be asked again."""
        waiting, after = self.waiting(), self.run()
        answer = self.store.start_run(after, is_dead=everybody_lives, ended=[waiting.run_id])
        assert (answer.status, answer.held_by) == ("running", None)
        assert self.start(self.run()).held_by == after.run_id

    def test_a_run_that_is_not_named_goes_on_holding(self) -> None:
        """Of the same process and job."""
        waiting, going = self.waiting(), self.waiting(overlap="allow")
        late = self.run()
        answer = self.store.start_run(late, is_dead=everybody_lives, ended=[waiting.run_id])
        assert (answer.status, answer.held_by) == ("skipped", going.run_id)

    @pytest.mark.parametrize("call", CALLS)
    def test_a_call_that_names_a_run_does_not_count_it(self, call: str) -> None:
        """Its process is not judged for it, and it is there however long ago its lease ran out."""
        waiting, judged = self.waiting(), Judge()
        self.name(call, [waiting.run_id], is_dead=judged)
        self.let_pass(1000)
        self.name(call, [waiting.run_id], owner=THERE, is_dead=judged)
        assert judged.asked == []
        assert self.shown(waiting).status == "running"
        assert self.store.jobs()[0].consecutive_failure_count == 0

    @pytest.mark.parametrize("call", ["start", "sweep"])
    def test_another_run_of_its_process_is_judged(self, call: str) -> None:
        """As if nothing had been named; what is named is left alone all the same."""
        waiting, gone = self.waiting(), self.waiting(overlap="allow")
        judged = Judge()
        self.name(call, [waiting.run_id], is_dead=judged)
        assert judged.asked == [HERE]
        assert [self.shown(run).status for run in (waiting, gone)] == ["running", "crashed"]

    @pytest.mark.parametrize("call", CALLS)
    def test_nobody_counts_a_run_that_is_renewed(self, call: str) -> None:
        """Elsewhere its lease decides, as for one that goes on; beside it, its process."""
        waiting = self.waiting()
        for _ in range(2):
            self.let_pass(60)
            self.name(call, [waiting.run_id])
        self.let_pass(60)
        assert self.store.sweep(THERE, is_dead=everybody_died) == []
        self.start(self.run(owner=THERE), everybody_died)
        self.let_pass(60)
        self.start(self.run(owner=BESIDE), everybody_lives)
        assert self.shown(waiting).status == "running"

    def test_a_start_renews_it_by_its_own_lease(self) -> None:
        """A heartbeat by the one that it is given."""
        waiting = self.waiting()
        long = self.run(lease=1800.0)
        self.store.start_run(long, is_dead=everybody_lives, ended=[waiting.run_id])
        self.let_pass(1790)
        assert self.store.sweep(THERE, is_dead=everybody_died) == []
        self.store.heartbeat([long.run_id], lease=20.0, ended=[waiting.run_id])
        self.let_pass(21)
        found = self.store.sweep(THERE, is_dead=everybody_died)
        assert [row.run_id for row in found] == [waiting.run_id, long.run_id]

    @pytest.mark.parametrize("call", CALLS)
    def test_its_outcome_is_committed_and_counted_once(self, call: str) -> None:
        """Whenever it comes, beside a run that goes on, and as often as it is repeated."""
        self.play("failure")
        waiting = self.waiting()
        self.name(call, [waiting.run_id])
        going = self.run()
        assert self.start(going).status == "running"
        for _ in range(2):
            assert self.finish(waiting, "failure").consecutive_failure_count == 2
            self.name(call, [waiting.run_id])
        assert self.shown(waiting).status == "failure"
        assert self.kinds() == ["failing"]
        assert self.start(self.run()).held_by == going.run_id
        assert self.finish(going, "failure").consecutive_failure_count == 3

    @pytest.mark.parametrize("call", CALLS)
    def test_it_is_counted_when_its_process_dies(self, call: str) -> None:
        """In its process space at once."""
        waiting = self.waiting()
        self.name(call, [waiting.run_id])
        assert self.start(self.run(owner=BESIDE), everybody_died).consecutive_failure_count == 1
        assert self.shown(waiting).status == "crashed"

    @pytest.mark.parametrize("call", CALLS)
    def test_it_is_counted_when_nobody_renews_it(self, call: str) -> None:
        """Elsewhere, when the lease is over."""
        waiting = self.waiting()
        self.name(call, [waiting.run_id])
        self.let_pass(91)
        found = self.store.sweep(THERE, is_dead=everybody_lives)
        assert [row.run_id for row in found] == [waiting.run_id]
        assert self.finish(waiting, "failure").consecutive_failure_count == 1
        assert self.store.jobs()[0].consecutive_failure_count == 1

    @pytest.mark.parametrize("call", CALLS)
    def test_an_id_that_cannot_be_meant_is_ignored(self, call: str) -> None:
        """One that is not known, and one that has ended in the log."""
        holder, skipped = self.waiting(), self.run()
        done = self.run(self.OTHER)
        self.start(done)
        self.finish(done, "success")
        self.start(skipped)
        before = [self.shown(run) for run in (done, skipped)]
        self.name(call, [new_id(), done.run_id, skipped.run_id], owner=THERE)
        assert [self.shown(run) for run in (done, skipped)] == before
        assert self.start(self.run()).held_by == holder.run_id

    def test_a_start_looks_at_its_own_job_alone(self) -> None:
        """Writes about the others wait for their own locks; heartbeats and sweeps name them all."""
        waiting = self.waiting()
        self.name("start", [waiting.run_id], job=self.OTHER)
        assert self.start(self.run()).held_by == waiting.run_id
        self.store.heartbeat([waiting.run_id], lease=90.0, ended=[waiting.run_id])
        assert self.start(self.run()).status == "running"
