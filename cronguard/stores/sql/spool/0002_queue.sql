-- A host decides by the code of the SQLite store, on tables of the same form: its log, its jobs,
-- and the outbox that is there. What the store has yet to be told is a queue beside them.

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
    announced TEXT,          -- channels notified of this incident, with commas between
    last_success_at TEXT,
    last_counted_run TEXT,
    snoozed_until TEXT,
    schedule TEXT,
    timezone TEXT NOT NULL DEFAULT 'UTC',
    grace REAL NOT NULL DEFAULT 300.0,
    max_runtime REAL DEFAULT 1800.0, -- null for no limit
    threshold INTEGER NOT NULL DEFAULT 2,
    realert_every INTEGER,
    notify_recovery INTEGER NOT NULL DEFAULT 0,
    runbook TEXT,
    sources TEXT,            -- JSON, name: [origin, since], for what somebody has stated
    declared TEXT,           -- JSON, host: {name: value}, as its settings declared it last
    channels TEXT,           -- who is notified of crashes and overruns; null for nobody yet
    channels_stated INTEGER NOT NULL DEFAULT 0, -- whether they came with a statement
    stated TEXT,             -- what the last start stated, as text that is compared
    registered_at TEXT NOT NULL,
    judged_until TEXT NOT NULL,
    seen_until TEXT
) WITHOUT ROWID;

-- Outcomes in the order in which they must be told. One that cannot be read has its seq below 0.
CREATE TABLE waiting (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    run_id TEXT NOT NULL,
    run TEXT NOT NULL,        -- JSON
    outcome TEXT NOT NULL,    -- JSON
    started INTEGER NOT NULL, -- whether the store is known to have taken the start
    notified TEXT             -- channels notified of it from here, with commas between
);
CREATE INDEX waiting_job ON waiting (job, seq);
CREATE INDEX waiting_run ON waiting (run_id);

-- Runs whose start was recorded here, while they go on.
CREATE TABLE begun (
    run_id TEXT NOT NULL PRIMARY KEY,
    job TEXT NOT NULL,
    run TEXT NOT NULL         -- JSON
) WITHOUT ROWID;

-- Jobs of which something waits, and what the store said to the first of it.
CREATE TABLE queues (
    job TEXT NOT NULL PRIMARY KEY,
    is_known INTEGER NOT NULL DEFAULT 1, -- 0 while its count here is a guess
    refused TEXT,                        -- the code; null if it was not refused
    tries INTEGER NOT NULL DEFAULT 0,
    retry_at TEXT
) WITHOUT ROWID;

INSERT INTO waiting (seq, job, run_id, run, outcome, started, notified)
SELECT abs(seq), job, run_id, run, outcome, started, told FROM spool WHERE seq IS NOT NULL;
INSERT INTO begun SELECT run_id, job, run FROM spool WHERE seq IS NULL;
INSERT INTO queues (job) SELECT DISTINCT job FROM waiting;
-- What they were taken to be is what the store said last, once more.
DROP TABLE spool_jobs;
DROP TABLE spool;
