-- Tables. What is there already is kept and brought up to date; every statement may be repeated.

select pg_advisory_xact_lock(hashtext('cronguard migration'));
select set_config('lock_timeout', '20s', true);

-- In the order in which the functions come to the tables, so that jobs that run meanwhile wait for
-- this, and never each for the other.
do $$
declare
    _table text;
begin
    foreach _table in array array['cronguard_jobs', 'cron_execution_logs', 'cronguard_alerts'] loop
        if to_regclass('public.' || _table) is not null then
            execute format('lock table public.%I in access exclusive mode', _table);
        end if;
    end loop;
end $$;

-- Rows that name no job are only accepted with somebody's word for whose they are.
do $$
declare
    _job constant text := /*legacy job*/ null;
    _named boolean;
    _unclear boolean := false;
begin
    if to_regclass('public.cron_execution_logs') is not null and _job is null then
        select exists (
            select 1 from pg_catalog.pg_attribute
            where attrelid = 'public.cron_execution_logs'::regclass and attname = 'job'
        ) into _named;
        execute 'select exists (select 1 from public.cron_execution_logs'
            || case when _named then ' where job is null)' else ')' end
            into _unclear;
    end if;
    if _unclear then
        raise exception 'cron_execution_logs holds rows that name no job'
            using errcode = 'CG003',
            hint = 'Say whose they are: cronguard init supabase --legacy-job NAME';
    end if;
end $$;

do $$
begin
    if to_regclass('public.cron_execution_logs') is null then
        create table public.cron_execution_logs (
            id uuid generated always as (run_id) stored,
            run_id uuid primary key,
            seq bigint generated always as identity,
            job text not null,
            status text not null,
            started_at timestamptz not null
        );
    end if;
end $$;

-- A log that was here before cronguard has an id of its own; run_id is added beside it.
alter table public.cron_execution_logs
    add column if not exists run_id uuid not null default gen_random_uuid(),
    add column if not exists job text,
    add column if not exists status text,
    add column if not exists started_at timestamptz,
    add column if not exists finished_at timestamptz,
    add column if not exists duration_ms double precision,
    add column if not exists consecutive_failure_count integer,
    add column if not exists error_type text,
    add column if not exists error_code text,
    add column if not exists error_message text,
    add column if not exists error_location text,
    add column if not exists host text,
    add column if not exists pid bigint,
    add column if not exists process_space text,
    add column if not exists process_started text,
    add column if not exists holds_lease boolean not null default false,
    add column if not exists lease_expires_at timestamptz;

create table if not exists public.cronguard_jobs (
    job text primary key,
    consecutive_failure_count integer not null default 0,
    incident_id uuid,
    announced text[] not null default '{}',
    last_success_at timestamptz,
    last_counted_run uuid,
    snoozed_until timestamptz,
    schedule text,
    timezone text not null default 'UTC',
    grace double precision not null default 300,
    max_runtime double precision default 1800, -- null for no limit
    threshold integer not null default 2,
    realert_every integer,
    notify_recovery boolean not null default false,
    runbook text,
    sources jsonb not null default '{}', -- name -> {"origin", "since"}, of what somebody has stated
    declared jsonb not null default '{}', -- name -> value, as settings declared it last
    channels jsonb, -- of the last start that stated anything; null if there was none
    stated jsonb, -- that statement, as it came
    registered_at timestamptz not null default now(),
    judged_until timestamptz not null default now(),
    seen_until timestamptz
) with (fillfactor = 50); -- room for an outcome's new version of the row beside the old one

-- From version 1, where the rules of a job's last start were kept whole.
alter table public.cronguard_jobs
    add column if not exists threshold integer not null default 2,
    add column if not exists realert_every integer,
    add column if not exists notify_recovery boolean not null default false,
    add column if not exists sources jsonb not null default '{}',
    add column if not exists channels jsonb,
    add column if not exists stated jsonb;
do $$
begin
    if exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.cronguard_jobs'::regclass and attname = 'rules'
            and not attisdropped
    ) then
        update public.cronguard_jobs set
            channels = (
                select jsonb_agg(jsonb_build_object(
                    'channel', rule -> 'channel',
                    'threshold', rule -> 'threshold',
                    'realert_every', coalesce((rule ->> 'realert_every')::integer, 0)
                ))
                from jsonb_array_elements(rules) as rule
            ),
            notify_recovery = coalesce(rules @> '[{"notify_recovery": true}]', false),
            sources = case when schedule is null or declared is null then '{}'
                else jsonb_build_object('schedule', jsonb_build_object(
                    'origin', 'settings', 'since', registered_at
                )) end,
            timezone = coalesce(timezone, 'UTC'),
            grace = coalesce(grace, 300)
        where true;
        update public.cronguard_jobs set declared = '{}' where true;
        alter table public.cronguard_jobs
            drop column rules,
            alter column timezone set default 'UTC', alter column timezone set not null,
            alter column grace set default 300, alter column grace set not null,
            alter column max_runtime set default 1800,
            alter column declared set default '{}', alter column declared set not null;
    end if;
end $$;

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
