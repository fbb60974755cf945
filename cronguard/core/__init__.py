"""What a run, an alert and a job are, and who is alerted when.

Values, rules and protocols only: no I/O, no threads, no third-party module but cronsim. All that a
plugin's author reads is here; everything else of cronguard is built on it.

The words that matter, as they are used throughout:

    job           a piece of work that is run again and again, known by its name
    run           one execution of a job; a row of the log, known by its run id
    outcome       how a run ended: success, failure, crashed, cancelled or skipped
    streak        the failures of a job in a row, counted in the order of commits
    incident      an unbroken streak of a job, from its first failure to the next success
    threshold     the streak at which a channel is alerted
    alert         one message about a job for one channel; known by its alert id and a unique key
    announced     the incident's alert for a channel has been decided; not that it was sent
    outbox        the table of alerts that were decided and, until they are sent, wait
    claim         the right to send an alert for some seconds; each has a higher attempt number
    settle        to write what came of a claim; refused if the alert has been claimed again since
    dead letter   an alert that was given up, because the other side refuses it for good
    owner         the process that a run belongs to: host, pid, process space, start time
    process space where a pid means the same process: one boot of one machine, one pid namespace
    lease         how long a run counts as alive without a heartbeat, where nobody can look
    sweep         to end the runs of dead owners as crashed
    ended         said of a run that is over while the store does not know it yet
    expectation   what a job should be like: schedule, grace, max_runtime, threshold …
    statement     an expectation and who states it: code, a command's options, or settings
    overrun       a run that goes on past its job's max_runtime
    occurrence    a time at which a job is due by its schedule
    silence       occurrences in a row at which nothing started, ended by the next start
    snooze        to decide no alerts of a job until a time; nothing else mutes one
    restate       to replace, at a start, what was kept of what its job should be like
    spool         this host's own SQLite file for one store, with the backlog and what it decided
    backlog       outcomes that wait on this host, since the store did not take them; also: kept
    replay        to give the store what is in the backlog, in order, exactly once
    degraded      decided by what this host knew last, without the store
"""

PACKAGES = frozenset(
    {"anyio", "certifi", "click", "cronsim", "h11", "httpcore", "httpx", "idna", "wrapt"}
)
"""Other people's that cronguard needs. It stands here since this is loaded before all that a file
of the program's may hide."""

__all__ = [
    "alert_rule",
    "clock",
    "damage",
    "errors",
    "expectations",
    "health",
    "install",
    "interfaces",
    "model",
    "payload",
    "rendering",
    "run_states",
    "schedule",
    "text",
]
