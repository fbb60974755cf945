-- Times are RFC 3339 UTC text with microseconds, so that they sort as text.

CREATE TABLE cron_execution_logs (
    id TEXT NOT NULL PRIMARY KEY,
    job TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN
        ('running', 'success', 'failure', 'crashed', 'cancelled', 'skipped')),
    started_at TEXT NOT NULL,
    finished_at TEXT,
    duration_ms REAL,
    consecutive_failure_count INTEGER,
    error_type TEXT,
    error_code TEXT,
    error_message TEXT,
    error_location TEXT,
    host TEXT,
    pid INTEGER,
    process_space TEXT,
    process_started TEXT,
    holds_lease INTEGER NOT NULL DEFAULT 0,
    lease_expires_at TEXT
);
-- What a start looks at: a handful of rows whatever the size of the log.
CREATE INDEX cron_execution_logs_running ON cron_execution_logs (job) WHERE status = 'running';
-- A job's history: a rowid follows every index key, so this is also the order of starting.
CREATE INDEX cron_execution_logs_job ON cron_execution_logs (job);

CREATE TABLE cronguard_jobs (
    job TEXT NOT NULL PRIMARY KEY,
    consecutive_failure_count INTEGER NOT NULL DEFAULT 0,
    incident_id TEXT,
    announced TEXT,          -- channels told of this incident, with commas between
    last_success_at TEXT,
    last_counted_run TEXT,
    snoozed_until TEXT,
    schedule TEXT,
    timezone TEXT,
    grace REAL,
    max_runtime REAL,
    registered_at TEXT NOT NULL,
    rules TEXT,              -- as of the last start; null for a job that never ran
    runbook TEXT,
    declared TEXT,           -- the schedule that settings gave ahead, as it was last declared
    judged_until TEXT NOT NULL,
    seen_until TEXT
) WITHOUT ROWID;

-- The outbox; the spool has one of the same form, since the same code works on both.
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
