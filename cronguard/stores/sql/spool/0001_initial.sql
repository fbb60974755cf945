-- What a host keeps for a store that is out of reach. Times as in the store: RFC 3339 UTC text.

CREATE TABLE spool (
    run_id TEXT NOT NULL PRIMARY KEY,
    seq INTEGER UNIQUE,      -- the order of outcomes; null while the run goes on
    job TEXT NOT NULL,
    run TEXT NOT NULL,
    outcome TEXT,
    started INTEGER NOT NULL, -- whether the store is known to have taken the start
    told TEXT,               -- channels told of the outcome from here, with commas between
    lease_expires_at TEXT
);
CREATE INDEX spool_job ON spool (job);
CREATE INDEX spool_running ON spool (run_id) WHERE seq IS NULL;

-- Jobs as they stand here, for as long as outcomes of theirs wait.
CREATE TABLE spool_jobs (
    job TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL
) WITHOUT ROWID;

-- Alerts that were decided here: the outbox of a SQLite store, column for column.
CREATE TABLE cronguard_alerts (
    alert_id TEXT NOT NULL PRIMARY KEY,
    alert_key TEXT NOT NULL UNIQUE,
    job TEXT NOT NULL,
    run_id TEXT,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at TEXT NOT NULL,
    claimed_until TEXT,
    created_at TEXT NOT NULL,
    settled_at TEXT,
    error_code TEXT
);
CREATE INDEX cronguard_alerts_open ON cronguard_alerts (job, due_at) WHERE state = 'pending';
