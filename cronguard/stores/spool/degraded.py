"""What is different while the store is away: alerts say so, and a guess announces at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from cronguard.core import alert_rule
from cronguard.core.alert_rule import Decision, is_snoozed
from cronguard.core.clock import new_id
from cronguard.core.model import (
    AlertRule,
    JobState,
    NewAlert,
    Outcome,
    Overrun,
    Run,
)
from cronguard.core.payload import build, build_overrun


class Outage:
    """What one decision without the store takes into account; afterwards, whom it notifies.

    ``is_known`` False says that nothing is known of the job: a failure may be the last of
    many, so it is announced at once, with no count.
    """

    def __init__(self, *, is_known: bool) -> None:
        self._is_known = is_known
        self._thresholds: dict[str, int] = {}
        self.notified: set[str] = set()
        """The channels for which alerts were made. A test is no news of the incident."""

    def rules(self, rules: Sequence[AlertRule]) -> Sequence[AlertRule]:
        """Return the rules to decide by."""
        self._thresholds = {rule.channel: rule.threshold for rule in rules}
        return rules if self._is_known else [rule._replace(threshold=1) for rule in rules]

    def alerts(
        self, decision: Decision, *, run: Run, outcome: Outcome, before: JobState
    ) -> list[NewAlert]:
        """Return the alerts of the decision, as `cronguard.core.payload.build_due` does."""
        found = []
        for due in decision.alerts:
            alert = build(
                due._replace(threshold=self._thresholds[due.channel]),
                alert_id=new_id(),
                run=run,
                outcome=outcome,
                before=before,
                count=decision.consecutive_failure_count if self._is_known else None,
            )
            found.append(NewAlert(due.key, due.channel, alert._replace(degraded=True)))
            if due.kind != "test":
                self.notified.add(due.channel)
        return found


def overrun_alerts(
    overrun: Overrun, rules: Sequence[AlertRule], state: JobState, now: datetime, host: str
) -> Iterator[NewAlert]:
    """Return the alerts of a run that is still going; none while its job is snoozed."""
    if is_snoozed(state.snoozed_until, now):
        return
    for due in alert_rule.overrun_alerts(overrun, rules):
        alert = build_overrun(
            due,
            overrun,
            alert_id=new_id(),
            started_at=now - timedelta(seconds=overrun.elapsed),
            host=host,
            state=state,
        )
        yield NewAlert(due.key, due.channel, alert._replace(degraded=True))
