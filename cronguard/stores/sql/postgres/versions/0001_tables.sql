-- Version 1: the tables. Every statement of a version may be repeated, over any later version too.

create table if not exists public.cron_execution_logs (
    id uuid generated always as (run_id) stored, -- its own, in a log from before cronguard
    run_id uuid primary key,
    seq bigint generated always as identity,
    job text not null,
    status text not null
        constraint cron_execution_logs_known_status check (status in
            ('running', 'success', 'failure', 'crashed', 'cancelled', 'skipped')),
    started_at timestamptz not null,
    finished_at timestamptz,
    duration_ms double precision,
    consecutive_failure_count integer,
    error_type text,
    error_code text,
    error_message text,
    error_location text,
    host text,
    pid bigint,
    process_space text,
    process_started text,
    holds_lease boolean not null default false,
    lease_expires_at timestamptz
);

create table if not exists public.cronguard_jobs (
    job text primary key,
    consecutive_failure_count integer not null default 0,
    incident_id uuid,
    announced text[] not null default '{}',
    last_success_at timestamptz,
    last_counted_run uuid,
    snoozed_until timestamptz,
    schedule text,
    timezone text,
    grace double precision,
    max_runtime double precision,
    registered_at timestamptz not null default now(),
    rules jsonb, -- as of the last start; null for a job that never ran
    runbook text,
    declared jsonb, -- the schedule that settings gave ahead, as it was last declared
    judged_until timestamptz not null default now(),
    seen_until timestamptz
) with (fillfactor = 50); -- room for an outcome's new version of the row beside the old one

create table if not exists public.cronguard_alerts (
    alert_id uuid primary key,
    seq bigint generated always as identity,
    alert_key text not null unique,
    job text not null,
    run_id uuid,
    channel text not null,
    kind text not null,
    payload text not null,
    state text not null default 'pending'
        constraint cronguard_alerts_state check (state in ('pending', 'sent', 'dead')),
    attempts integer not null default 0,
    due_at timestamptz not null,
    claimed_until timestamptz,
    created_at timestamptz not null,
    settled_at timestamptz,
    error_code text
);

comment on table public.cron_execution_logs is
    'cronguard: one row a run. Redacted text only; times are of the client, leases of this server.';
comment on table public.cronguard_jobs is
    'cronguard: what a job remembers between runs. Its row lock orders the outcomes.';
comment on table public.cronguard_alerts is
    'cronguard: the outbox. Written with the outcome, claimed by lease, settled after sending.';

/*existing log*/

-- What a start looks at: a handful of rows whatever the size of the log.
create index if not exists cron_execution_logs_running
    on public.cron_execution_logs (job) where status = 'running';
-- A job's runs in the order of starting: the newest, and what pruning keeps.
create index if not exists cron_execution_logs_history on public.cron_execution_logs (job, seq);
-- By the clock, as schedules are judged.
create index if not exists cron_execution_logs_starts
    on public.cron_execution_logs (job, started_at);
create index if not exists cronguard_alerts_open
    on public.cronguard_alerts (job, state, due_at) where state <> 'sent';
