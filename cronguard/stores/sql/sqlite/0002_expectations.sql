-- What is expected of a job: stated one by one, kept otherwise. What a channel overrides stands
-- apart from the job's own. The table is made anew, since old versions of SQLite drop no column.

CREATE TABLE jobs_of_version_2 (
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

-- Until its next start a job goes by the rules of its last one.
INSERT INTO jobs_of_version_2 (job, consecutive_failure_count, incident_id, announced,
    last_success_at, last_counted_run, snoozed_until, schedule, timezone, grace, max_runtime,
    notify_recovery, runbook, sources, channels, registered_at, judged_until, seen_until)
SELECT job, consecutive_failure_count, incident_id, announced, last_success_at, last_counted_run,
    snoozed_until, schedule, coalesce(timezone, 'UTC'), coalesce(grace, 300.0),
    CASE WHEN rules IS NULL THEN 1800.0 ELSE max_runtime END, -- null for no limit of one that ran
    coalesce(rules LIKE '%:1,%' OR rules LIKE '%:1', 0), runbook,
    CASE WHEN schedule IS NOT NULL THEN '{"schedule": ["'
        || CASE WHEN declared LIKE schedule || '|%' THEN 'settings' ELSE 'code' END
        || '", "' || registered_at || '"]}' END,
    rules, registered_at, judged_until, seen_until
FROM cronguard_jobs;

-- What was declared: a schedule, a time zone and a grace with bars between.
UPDATE jobs_of_version_2 SET declared = (
    SELECT '{"": {"schedule": "' || substr(d, 1, instr(d, '|') - 1)
        || '", "timezone": "' || substr(rest, 1, instr(rest, '|') - 1)
        || '", "grace": ' || substr(rest, instr(rest, '|') + 1) || '}}'
    FROM (
        SELECT declared AS d, substr(declared, instr(declared, '|') + 1) AS rest
        FROM cronguard_jobs old WHERE old.job = jobs_of_version_2.job AND declared LIKE '%|%|%'
    )
);

DROP TABLE cronguard_jobs;
ALTER TABLE jobs_of_version_2 RENAME TO cronguard_jobs;
