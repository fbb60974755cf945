-- cronguard's schema, version 1. Made by cronguard init; safe to apply again.

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

-- A cron_execution_logs from before cronguard: its rows are kept, get a job and words for their
-- status that cronguard knows, and the streak goes on from the newest. On a new one
-- there is nothing to do but the end: rules and indexes that hold for either.

-- Checks on the status that do not know cronguard's words.
do $$
declare
    _constraint name;
begin
    for _constraint in
        select distinct c.conname from pg_catalog.pg_constraint c
        join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = any (c.conkey)
        where c.conrelid = 'public.cron_execution_logs'::regclass
            and c.contype = 'c' and a.attname = 'status'
            and c.conname <> 'cron_execution_logs_known_status'
    loop
        execute format('alter table public.cron_execution_logs drop constraint %I', _constraint);
    end loop;
end $$;

-- Columns that were there with another type; times without a zone are taken as UTC.
do $$
declare
    _column record;
begin
    for _column in
        select a.attname, w.wanted, format_type(a.atttypid, a.atttypmod) as actual,
            pg_get_expr(d.adbin, d.adrelid) as usual
        from pg_catalog.pg_attribute a
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        join (values
            ('job', 'text'), ('status', 'text'),
            ('started_at', 'timestamp with time zone'),
            ('finished_at', 'timestamp with time zone'),
            ('duration_ms', 'double precision'), ('consecutive_failure_count', 'integer'),
            ('error_type', 'text'), ('error_code', 'text'), ('error_message', 'text'),
            ('error_location', 'text'), ('host', 'text'), ('pid', 'bigint')
        ) as w (attname, wanted) on w.attname = a.attname
        where a.attrelid = 'public.cron_execution_logs'::regclass
            and not a.attisdropped and format_type(a.atttypid, a.atttypmod) <> w.wanted
    loop
        execute format(
            'alter table public.cron_execution_logs alter column %I drop default', _column.attname
        );
        execute format(
            'alter table public.cron_execution_logs alter column %1$I type %2$s using '
            || case when _column.actual like 'timestamp%without%'
                then '%1$I at time zone ''UTC''' else '%1$I::text::%2$s' end,
            _column.attname, _column.wanted
        );
        if _column.usual is not null then
            execute format(
                'alter table public.cron_execution_logs alter column %I set default %s',
                _column.attname, _column.usual
            );
        end if;
    end loop;
end $$;

-- What cronguard does not fill in must not be asked for; a run that goes on has no count.
do $$
declare
    _column name;
begin
    for _column in
        select a.attname from pg_catalog.pg_attribute a
        where a.attrelid = 'public.cron_execution_logs'::regclass
            and a.attnum > 0 and not a.attisdropped and a.attnotnull and not a.atthasdef
            and a.attidentity = ''
            and a.attname not in ('run_id', 'job', 'status', 'started_at', 'holds_lease', 'seq')
            and not exists (
                select 1 from pg_catalog.pg_index i
                where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any (i.indkey)
            )
    loop
        execute format(
            'alter table public.cron_execution_logs alter column %I drop not null', _column
        );
    end loop;
    alter table public.cron_execution_logs
        alter column consecutive_failure_count drop not null,
        alter column consecutive_failure_count drop default;
end $$;

-- An id that the program before made itself.
do $$
declare
    _type text;
begin
    select format_type(atttypid, null) into _type from pg_catalog.pg_attribute
    where attrelid = 'public.cron_execution_logs'::regclass
        and attname = 'id' and not attisdropped and not atthasdef and attidentity = '';
    if _type in ('bigint', 'integer') then
        alter table public.cron_execution_logs
            alter column id add generated by default as identity;
        perform setval(
            pg_get_serial_sequence('public.cron_execution_logs', 'id'),
            (select coalesce(max(id::text::bigint), 0) + 1 from public.cron_execution_logs), false
        );
    elsif _type is not null then
        execute format(
            'alter table public.cron_execution_logs alter column id '
            'set default gen_random_uuid()::%s', _type
        );
    end if;
end $$;

-- The order of starting.
do $$
begin
    if not exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.cron_execution_logs'::regclass and attname = 'seq'
            and not attisdropped
    ) then
        alter table public.cron_execution_logs add column seq bigint;
        update public.cron_execution_logs l set seq = n.place
        from (
            select run_id, row_number() over (order by started_at nulls first) as place
            from public.cron_execution_logs
        ) n
        where l.run_id = n.run_id;
        alter table public.cron_execution_logs alter column seq set not null;
        alter table public.cron_execution_logs alter column seq add generated always as identity;
        perform setval(
            pg_get_serial_sequence('public.cron_execution_logs', 'seq'),
            (select coalesce(max(seq), 0) + 1 from public.cron_execution_logs), false
        );
    end if;
end $$;

-- Rows that name no job: they get one, and the job's streak goes on from its newest row.
do $$
declare
    _job constant text := /*legacy job*/ null;
    _latest record;
    _incident uuid;
begin
    if _job is null
        or not exists (select 1 from public.cron_execution_logs where job is null)
    then
        return;
    end if;
    update public.cron_execution_logs set
        job = _job,
        started_at = coalesce(started_at, finished_at, now()),
        status = case
            when lower(status) in ('success', 'succeeded', 'successful', 'ok', 'completed',
                'complete', 'done') then 'success'
            when lower(status) in ('failure', 'failed', 'fail', 'error', 'errored', 'timeout')
                then 'failure'
            when status is null and consecutive_failure_count = 0 then 'success'
            when status is null and consecutive_failure_count > 0 then 'failure'
            else 'cancelled' -- a run that had not ended says nothing about the streak
        end
    where job is null;

    select run_id, coalesce(consecutive_failure_count, 0) as streak into _latest
    from public.cron_execution_logs
    where job = _job and status in ('success', 'failure')
    order by seq desc limit 1;
    if _latest.streak > 0 then
        select run_id into _incident from public.cron_execution_logs
        where job = _job and status = 'failure' and seq > coalesce((
            select max(seq) from public.cron_execution_logs
            where job = _job and status = 'success'
        ), 0)
        order by seq limit 1;
    end if;
    insert into public.cronguard_jobs
        (job, consecutive_failure_count, incident_id, last_success_at, last_counted_run)
    values (
        _job, coalesce(_latest.streak, 0), _incident,
        (select max(coalesce(finished_at, started_at)) from public.cron_execution_logs
            where job = _job and status = 'success'),
        _latest.run_id
    )
    on conflict (job) do nothing;
end $$;

-- What holds for every row from now on, once the old ones keep to it.
do $$
begin
    alter table public.cron_execution_logs
        alter column job set not null,
        alter column status set not null,
        alter column started_at set not null;
    if not exists (
        select 1 from pg_catalog.pg_constraint
        where conrelid = 'public.cron_execution_logs'::regclass
            and conname = 'cron_execution_logs_known_status'
    ) then
        alter table public.cron_execution_logs add constraint cron_execution_logs_known_status
            check (status in
                ('running', 'success', 'failure', 'crashed', 'cancelled', 'skipped'));
    end if;
    if not exists (
        select 1 from pg_catalog.pg_index i
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = 'public.cron_execution_logs'::regclass
            and i.indisunique and i.indnatts = 1 and a.attname = 'run_id'
    ) then
        execute 'alter table public.cron_execution_logs add constraint cron_execution_logs_run '
            || case when exists (
                select 1 from pg_catalog.pg_index
                where indrelid = 'public.cron_execution_logs'::regclass and indisprimary
            ) then 'unique' else 'primary key' end || ' (run_id)';
    end if;
end $$;

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

-- What the functions below have in common. Each that a client calls takes one JSON object, so that a
-- newer or older client can say more or less.

create or replace function public.cronguard_schema_version() returns integer
language sql immutable set search_path = ''
as $$ select 1 $$;

-- Stops a client that is newer than these functions: its request may say what they do not know.
create or replace function public.cronguard_expect(request jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
    if (request ->> 'schema')::integer > public.cronguard_schema_version() then
        raise exception 'this client needs a newer schema' using errcode = 'CG001';
    end if;
end $$;

-- Always UTC and always microseconds, as cronguard.core.clock.rfc3339 writes it.
create or replace function public.cronguard_rfc3339(moment timestamptz) returns text
language sql stable set search_path = ''
as $$ select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

-- A job's schedule as a start or a declaration says it; JSON's null for none.
create or replace function public.cronguard_plan(job public.cronguard_jobs) returns jsonb
language sql immutable set search_path = ''
as $$
    select case when job.schedule is null then 'null'::jsonb else jsonb_build_object(
        'cron', job.schedule, 'timezone', job.timezone, 'grace', job.grace
    ) end
$$;

-- The job's row, locked until the transaction ends; a job that is not known is registered.
create or replace function public.cronguard_lock_job(request jsonb) returns public.cronguard_jobs
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs;
    _plan jsonb;
    _changed boolean := false;
begin
    loop
        select * into _job from public.cronguard_jobs where job = request ->> 'job' for update;
        exit when found;
        insert into public.cronguard_jobs (job, registered_at, judged_until)
            values (request ->> 'job', clock_timestamp(), clock_timestamp())
            on conflict (job) do nothing;
    end loop;
    if not request ? 'schedule' then
        return _job;
    end if;
    -- A start without a schedule leaves alone what settings declared.
    _plan := case when request -> 'schedule' <> 'null' then request -> 'schedule'
        when _job.declared is not null then public.cronguard_plan(_job) else 'null' end;
    if public.cronguard_plan(_job) is distinct from _plan then
        _job.schedule := _plan ->> 'cron';
        _job.timezone := _plan ->> 'timezone';
        _job.grace := (_plan ->> 'grace')::double precision;
        _job.judged_until := clock_timestamp();
        _job.seen_until := null;
        _changed := true;
    end if;
    if _changed or (_job.max_runtime, _job.rules, _job.runbook) is distinct from (
        (request ->> 'max_runtime')::double precision, request -> 'rules', request ->> 'runbook'
    )
    then
        update public.cronguard_jobs set
            schedule = _job.schedule, timezone = _job.timezone, grace = _job.grace,
            judged_until = _job.judged_until, seen_until = _job.seen_until,
            max_runtime = (request ->> 'max_runtime')::double precision,
            rules = request -> 'rules',
            runbook = request ->> 'runbook'
        where job = _job.job
        returning * into _job;
    end if;
    return _job;
end $$;

-- How a run ended: the streak and the alerts owed. The rule is cronguard/core/alert_rule.py; one test runs on
-- both.

-- One outbox row. Deciding twice enqueues once: a known key is left alone.
create or replace function public.cronguard_enqueue(
    key text, kind text, channel text, run jsonb, facts jsonb
) returns void
language plpgsql set search_path = ''
as $$
declare
    _alert_id constant uuid := gen_random_uuid();
    _now constant timestamptz := clock_timestamp();
begin
    insert into public.cronguard_alerts
        (alert_id, alert_key, job, run_id, channel, kind, payload, due_at, created_at)
    values (
        _alert_id, key, run ->> 'job', (run ->> 'run_id')::uuid, channel, kind,
        json_build_object(
            'schema', 'cronguard.alert/1',
            'alert_id', _alert_id,
            'kind', kind,
            'job', run ->> 'job',
            'run_id', run ->> 'run_id',
            'consecutive_failure_count', facts -> 'consecutive_failure_count',
            'threshold', facts -> 'threshold',
            'error_type', facts -> 'error_type',
            'error_code', facts -> 'error_code',
            'error_message', facts -> 'error_message',
            'error_location', facts -> 'error_location',
            'last_success_at', facts -> 'last_success_at',
            'started_at', run ->> 'started_at',
            'finished_at', facts -> 'finished_at',
            'duration_seconds', facts -> 'duration',
            'host', run ->> 'host',
            'runbook', run ->> 'runbook',
            'degraded', false, -- a host that cannot reach this server decides for itself
            'test', kind = 'test'
        )::text,
        _now, _now
    )
    on conflict (alert_key) do nothing;
end $$;

-- What a host goes on with should this server be out of reach.
create or replace function public.cronguard_job_state(job public.cronguard_jobs) returns jsonb
language sql stable set search_path = ''
as $$
    select jsonb_build_object(
        'consecutive_failure_count', job.consecutive_failure_count,
        'incident_id', job.incident_id,
        'announced', job.announced,
        'last_success_at', public.cronguard_rfc3339(job.last_success_at),
        'last_counted_run', job.last_counted_run,
        'snoozed_until', public.cronguard_rfc3339(job.snoozed_until)
    )
$$;

-- Write an outcome, the job's new state and the alerts owed: cronguard.core.alert_rule.decide, in SQL.
-- The job's row must be locked. "late": the success of a run that had been counted as crashed.
create or replace function public.cronguard_commit(
    before public.cronguard_jobs, run jsonb, outcome jsonb, late boolean
) returns integer
language plpgsql set search_path = ''
as $$
declare
    _run_id constant uuid := (run ->> 'run_id')::uuid;
    _status constant text := outcome ->> 'status';
    _finished constant timestamptz := (outcome ->> 'finished_at')::timestamptz;
    _snoozed constant boolean := coalesce(before.snoozed_until > clock_timestamp(), false);
    _after public.cronguard_jobs := before;
    _count integer;
    _over integer;
    _told boolean;
    _rule jsonb;
    _facts jsonb;
begin
    if _status = 'cancelled' then
        _count := before.consecutive_failure_count;
    elsif _status = 'success' then
        _count := 0;
        if late and before.last_counted_run is distinct from _run_id then
            _after.last_success_at := greatest(before.last_success_at, _finished);
        else
            _after.last_success_at := _finished;
            _after.consecutive_failure_count := 0;
            _after.incident_id := null;
            _after.announced := '{}';
            _after.last_counted_run := _run_id;
        end if;
    else
        _count := before.consecutive_failure_count + 1;
        _after.consecutive_failure_count := _count;
        _after.incident_id := coalesce(before.incident_id, _run_id);
        _after.last_counted_run := _run_id;
        -- Channels that this host has told of the outcome already.
        select before.announced || coalesce(array_agg(each.value ->> 'channel'), '{}')
            into _after.announced
            from jsonb_array_elements(run -> 'rules') as each
            where run -> 'told' ? (each.value ->> 'channel')
                and not (each.value ->> 'channel') = any (before.announced);
    end if;

    update public.cron_execution_logs set
        status = _status,
        finished_at = _finished,
        duration_ms = (outcome ->> 'duration')::numeric * 1000,
        consecutive_failure_count = _count,
        error_type = outcome ->> 'error_type',
        error_code = outcome ->> 'error_code',
        error_message = outcome ->> 'error_message',
        error_location = outcome ->> 'error_location',
        holds_lease = false
    where run_id = _run_id;

    _facts := outcome || jsonb_build_object(
        'consecutive_failure_count', _count,
        'last_success_at', case when _status = 'success' then outcome ->> 'finished_at'
            else public.cronguard_rfc3339(before.last_success_at) end
    );
    for _rule in select * from jsonb_array_elements(run -> 'rules') loop
        continue when _snoozed or _status = 'cancelled'
            or run -> 'told' ? (_rule ->> 'channel');
        _facts := jsonb_set(_facts, '{threshold}', _rule -> 'threshold');
        _told := (_rule ->> 'channel') = any (_after.announced);
        if _status = 'success' then
            -- A late success that ends no incident has not emptied the list of channels told.
            if (_rule ->> 'notify_recovery')::boolean and _after.incident_id is null
                and (_rule ->> 'channel') = any (before.announced)
            then
                perform public.cronguard_enqueue(
                    format('%s/%s/recovered/%s', before.job, before.incident_id,
                        _rule ->> 'channel'),
                    'recovered', _rule ->> 'channel', run, _facts
                );
            end if;
            continue;
        end if;
        _over := _count - (_rule ->> 'threshold')::integer;
        if _over >= 0 and not _told then
            perform public.cronguard_enqueue(
                format('%s/%s/failing/%s', before.job, _after.incident_id, _rule ->> 'channel'),
                'failing', _rule ->> 'channel', run, _facts
            );
            _after.announced := _after.announced || (_rule ->> 'channel');
        elsif _over > 0 and _over % nullif((_rule ->> 'realert_every')::integer, 0) = 0 then
            perform public.cronguard_enqueue(
                format('%s/%s/%s/%s', before.job, _after.incident_id, _count, _rule ->> 'channel'),
                'still_failing', _rule ->> 'channel', run, _facts
            );
        end if;
    end loop;
    if (run ->> 'test_mode')::boolean and not _snoozed then
        for _rule in select * from jsonb_array_elements(run -> 'rules') loop
            continue when run -> 'told' ? (_rule ->> 'channel');
            perform public.cronguard_enqueue(
                format('%s/%s/test/%s', before.job, run ->> 'run_id', _rule ->> 'channel'),
                'test', _rule ->> 'channel', run,
                jsonb_set(_facts, '{threshold}', _rule -> 'threshold')
            );
        end loop;
    end if;

    if _after is distinct from before then
        update public.cronguard_jobs set
            consecutive_failure_count = _after.consecutive_failure_count,
            incident_id = _after.incident_id,
            announced = _after.announced,
            last_success_at = _after.last_success_at,
            last_counted_run = _after.last_counted_run
        where job = before.job;
    end if;
    return _count;
end $$;

-- Count the job's dead runs; the run that still holds the job, null if none does. The job's row must
-- be locked. "dead" in the request are those of the caller's own process space.
create or replace function public.cronguard_sweep_job(held public.cronguard_jobs, request jsonb)
returns uuid
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs := held;
    _run_id constant uuid := (request ->> 'run_id')::uuid;
    _now constant timestamptz := clock_timestamp();
    _row record;
    _dead boolean;
    _holder uuid;
begin
    for _row in
        select run_id, started_at, host, process_space, holds_lease, lease_expires_at
        from public.cron_execution_logs
        where job = _job.job and status = 'running' and run_id is distinct from _run_id
        order by seq
    loop
        if _row.process_space = request ->> 'space' then
            _dead := request -> 'dead' ? _row.run_id::text;
        else
            -- Further off than any lease reaches: written before this server's clock was put back.
            _dead := _row.lease_expires_at is null or _row.lease_expires_at <= _now
                or _row.lease_expires_at > _now + interval '1 hour';
        end if;
        if _dead then
            perform public.cronguard_commit(
                _job,
                request || jsonb_build_object(
                    'run_id', _row.run_id, 'host', _row.host, 'test_mode', false,
                    'started_at', public.cronguard_rfc3339(_row.started_at)
                ),
                jsonb_build_object(
                    'status', 'crashed', 'finished_at', public.cronguard_rfc3339(_now),
                    'error_type', 'Crashed', 'error_message',
                    'the process ended before its run did (killed or lost power?)'
                ),
                false
            );
            select * into _job from public.cronguard_jobs where job = _job.job;
        elsif _row.holds_lease then
            _holder := _row.run_id;
        end if;
    end loop;
    return _holder;
end $$;

-- What a run writes: its start, its leases, its end.

-- False if the run is there already.
create or replace function public.cronguard_insert_running(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
begin
    insert into public.cron_execution_logs
        (run_id, job, status, started_at, host, pid, process_space, process_started,
            lease_expires_at, holds_lease)
    values (
        (request ->> 'run_id')::uuid, request ->> 'job', 'running',
        (request ->> 'started_at')::timestamptz, request ->> 'host', (request ->> 'pid')::bigint,
        request ->> 'space', request ->> 'process_started',
        clock_timestamp() + make_interval(secs => (request ->> 'lease')::double precision), true
    )
    on conflict (run_id) do nothing;
    return found;
end $$;

-- A run that is open, for its own process space to tell whether its process is alive.
create or replace function public.cronguard_suspect(run public.cron_execution_logs) returns jsonb
language sql stable set search_path = ''
as $$
    select jsonb_build_object(
        'run_id', run.run_id, 'host', run.host, 'pid', run.pid,
        'space', run.process_space, 'process_started', run.process_started
    )
$$;

-- Record that a run begins, or that it was skipped. Where runs of the job are open in the caller's
-- own process space, it alone can tell whether they are alive: then nothing is written, the answer
-- is {"suspects": [...]}, and the caller comes back with "dead": [run ids].
create or replace function public.cronguard_start_run(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs;
    _run_id constant uuid := (request ->> 'run_id')::uuid;
    _holder uuid;
    _suspects jsonb;
    _status text := 'running';
begin
    perform public.cronguard_expect(request);
    _job := public.cronguard_lock_job(request);

    if not request ? 'dead' then
        select jsonb_agg(public.cronguard_suspect(r)) into _suspects
        from public.cron_execution_logs r
        where job = _job.job and status = 'running' and run_id <> _run_id
            and process_space = request ->> 'space';
        if _suspects is not null then
            return jsonb_build_object('suspects', _suspects);
        end if;
    end if;

    _holder := public.cronguard_sweep_job(_job, request);
    select * into _job from public.cronguard_jobs where job = _job.job;

    if _holder is not null and request ->> 'overlap' = 'skip' then
        _status := 'skipped';
        insert into public.cron_execution_logs
            (run_id, job, status, started_at, finished_at, duration_ms,
                consecutive_failure_count, host, pid)
        values (
            _run_id, _job.job, 'skipped', (request ->> 'started_at')::timestamptz,
            (request ->> 'started_at')::timestamptz, 0, _job.consecutive_failure_count,
            request ->> 'host', (request ->> 'pid')::bigint
        )
        on conflict (run_id) do nothing;
    elsif not public.cronguard_insert_running(request) then
        -- Answered before, though that was not heard: what was skipped stays so.
        select case status when 'skipped' then status else 'running' end into _status
        from public.cron_execution_logs where run_id = _run_id;
    end if;
    return jsonb_build_object(
        'status', _status,
        'consecutive_failure_count', _job.consecutive_failure_count,
        'held_by', case when _status = 'skipped' then _holder end,
        'alerts_due', public.cronguard_has_due(_job.job),
        'state', public.cronguard_job_state(_job)
    );
end $$;

-- Commit how a run ended, the job's streak and the alerts due: one transaction, one job at a time.
-- "started": the start is known to have been stored, so a missing row was pruned.
create or replace function public.cronguard_finish_run(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs;
    _run_id constant uuid := (request ->> 'run_id')::uuid;
    _outcome constant jsonb := request -> 'outcome';
    _existing text;
    _count integer;
begin
    perform public.cronguard_expect(request);
    select * into _job from public.cronguard_jobs where job = request ->> 'job' for update;
    if not found then
        if (request ->> 'started')::boolean
            and not exists (select 1 from public.cron_execution_logs where run_id = _run_id)
        then
            return '{"consecutive_failure_count": null, "alerts_due": false}';
        end if;
        _job := public.cronguard_lock_job(request);
    end if;
    select status, consecutive_failure_count into _existing, _count
        from public.cron_execution_logs where run_id = _run_id;

    if _existing is null and not (request ->> 'started')::boolean then
        perform public.cronguard_insert_running(request);
        _existing := 'running';
    elsif _existing = 'skipped' and not (request ->> 'started')::boolean then
        _existing := 'running'; -- it never heard that it was to be skipped, and ran
    end if;

    if _existing = 'running' then
        _count := public.cronguard_commit(_job, request, _outcome, false);
    elsif _existing = 'crashed' and _outcome ->> 'status' = 'success' then
        _count := public.cronguard_commit(_job, request, _outcome, true);
    elsif _existing = 'crashed' and _outcome ->> 'status' = 'failure'
        and _outcome ->> 'error_type' is not null
    then
        update public.cron_execution_logs set
            error_type = _outcome ->> 'error_type',
            error_code = _outcome ->> 'error_code',
            error_message = _outcome ->> 'error_message',
            error_location = _outcome ->> 'error_location'
        where run_id = _run_id;
    end if;
    if request ? 'told' then
        -- cronguard.core.alert_rule.mark_notified: an outcome that was committed already, and told without us.
        if _existing <> 'running' and (_existing, _outcome ->> 'status') <> ('crashed', 'success')
        then
            update public.cronguard_jobs j set announced = j.announced || array(
                select value from jsonb_array_elements_text(request -> 'told')
                where not value = any (j.announced)
            )
            where j.job = _job.job and j.consecutive_failure_count > 0
                and _run_id in (j.last_counted_run, j.incident_id);
        end if;
        update public.cronguard_alerts set state = 'sent', settled_at = clock_timestamp()
        where job = _job.job and run_id = _run_id and state = 'pending'
            and request -> 'told' ? channel;
    end if;
    select * into _job from public.cronguard_jobs where job = _job.job;
    return jsonb_build_object(
        'consecutive_failure_count', _count,
        'alerts_due', public.cronguard_has_due(_job.job),
        'state', public.cronguard_job_state(_job)
    );
end $$;

-- Let the leases of runs that are still going end so many seconds from now.
create or replace function public.cronguard_heartbeat(request jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    with held as materialized ( -- in the order of a sweep
        select run_id from public.cron_execution_logs
        where status = 'running'
            and run_id in (select value::uuid from jsonb_array_elements_text(request -> 'run_ids'))
        order by seq
        for update
    )
    update public.cron_execution_logs r set
        lease_expires_at = clock_timestamp()
            + make_interval(secs => (request ->> 'lease')::double precision)
    from held
    where r.run_id = held.run_id;
end $$;

-- Take the lease from the job's running rows, so that it can start; how many there were.
create or replace function public.cronguard_unlock(request jsonb) returns integer
language plpgsql set search_path = ''
as $$
declare
    _freed integer;
begin
    perform public.cronguard_expect(request);
    perform 1 from public.cronguard_jobs where job = request ->> 'job' for update;
    update public.cron_execution_logs set holds_lease = false
    where job = request ->> 'job' and status = 'running' and holds_lease;
    get diagnostics _freed = row_count;
    return _freed;
end $$;

-- The outbox: what is due, claim, settle.

-- Whether a claim or a back-off is over: its end has come, or it is further off than any is, or it
-- belongs to an alert of the future. Those were written before this server's clock was put back.
create or replace function public.cronguard_is_over(until timestamptz, created timestamptz)
returns boolean
language sql stable set search_path = ''
as $$
    select until <= clock_timestamp() or until > clock_timestamp() + interval '26 hours'
        or created > clock_timestamp() + interval '1 hour' and until >= created
$$;

-- Whether there is an alert of the job whose time has come.
create or replace function public.cronguard_has_due(of_job text) returns boolean
language plpgsql stable set search_path = ''
as $$
begin
    return exists (
        select 1 from public.cronguard_alerts
        where job = of_job and state = 'pending'
            and public.cronguard_is_over(due_at, created_at)
    );
end $$;

-- Take alerts that are due, oldest first, so that nobody else sends them meanwhile.
create or replace function public.cronguard_claim_alerts(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _until constant timestamptz := clock_timestamp()
        + make_interval(secs => (request ->> 'claim_for')::double precision);
    _claimed jsonb;
begin
    perform public.cronguard_expect(request);
    with picked as materialized (
        select alert_id from public.cronguard_alerts
        where state = request ->> 'state' and state <> 'sent'
            and request -> 'channels' ? channel
            and (request ->> 'job' is null or job = request ->> 'job')
            and (claimed_until is null or public.cronguard_is_over(claimed_until, created_at))
            and ((request ->> 'force')::boolean or public.cronguard_is_over(due_at, created_at))
        order by seq
        limit (request ->> 'limit')::integer
        for update skip locked
    ), taken as (
        update public.cronguard_alerts a set
            state = 'pending', attempts = attempts + 1, claimed_until = _until, due_at = _until
        from picked p
        where a.alert_id = p.alert_id
        returning a.seq, a.alert_id, a.job, a.channel, a.kind, a.attempts, a.payload
    )
    select jsonb_agg(jsonb_build_object(
        'alert_id', alert_id, 'job', job, 'channel', channel, 'kind', kind, 'attempt', attempts,
        'payload', payload
    ) order by seq)
    into _claimed from taken;
    return coalesce(_claimed, '[]');
end $$;

-- Write what became of a try; false if the claim was lost or settled before.
create or replace function public.cronguard_settle_alert(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _now constant timestamptz := clock_timestamp();
begin
    perform public.cronguard_expect(request);
    update public.cronguard_alerts set
        state = request ->> 'state',
        error_code = request ->> 'error_code',
        claimed_until = null,
        due_at = _now
            + make_interval(secs => coalesce((request ->> 'retry_in')::double precision, 0)),
        settled_at = case when request ->> 'state' <> 'pending' then _now end
    where alert_id = (request ->> 'alert_id')::uuid
        and attempts = (request ->> 'attempt')::integer
        and state = 'pending';
    return found;
end $$;

-- Outbox rows, newest first.
create or replace function public.cronguard_alerts_list(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    return coalesce((
        select jsonb_agg(jsonb_build_object(
            'alert_id', alert_id, 'job', job, 'channel', channel, 'kind', kind, 'state', state,
            'attempts', attempts, 'error_code', error_code,
            'created_at', public.cronguard_rfc3339(created_at),
            'next_attempt_at', case when state = 'pending'
                then public.cronguard_rfc3339(due_at) end,
            'settled_at', public.cronguard_rfc3339(settled_at)
        ) order by seq desc)
        from (
            select * from public.cronguard_alerts
            where (request ->> 'state' is null or state = request ->> 'state')
                and (request ->> 'job' is null or job = request ->> 'job')
            order by seq desc
            limit (request ->> 'limit')::integer
        ) newest
    ), '[]');
end $$;

-- What is shown, and housekeeping.

-- One run as it is shown; null for none.
create or replace function public.cronguard_run_shown(run public.cron_execution_logs)
returns jsonb
language sql stable set search_path = ''
as $$
    select case when run.run_id is not null then jsonb_build_object(
        'run_id', run.run_id, 'job', run.job, 'status', run.status,
        'started_at', public.cronguard_rfc3339(run.started_at),
        'finished_at', public.cronguard_rfc3339(run.finished_at),
        'duration', run.duration_ms / 1000,
        'consecutive_failure_count', run.consecutive_failure_count,
        'error_type', run.error_type, 'error_code', run.error_code,
        'error_message', run.error_message, 'error_location', run.error_location,
        'host', run.host, 'pid', run.pid
    ) end
$$;

-- Every job that has run or is registered, by name.
create or replace function public.cronguard_status(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    return coalesce((
        select jsonb_agg(jsonb_build_object(
            'job', j.job,
            'consecutive_failure_count', j.consecutive_failure_count,
            'last_run', (
                select public.cronguard_run_shown(r) from public.cron_execution_logs r
                where r.job = j.job and r.status <> 'skipped' order by r.seq desc limit 1
            ),
            'last_success_at', public.cronguard_rfc3339(j.last_success_at),
            'running', (
                select count(*) from public.cron_execution_logs r
                where r.job = j.job and r.status = 'running'
            ),
            'snoozed_until', public.cronguard_rfc3339(j.snoozed_until),
            'schedule', j.schedule, 'timezone', j.timezone, 'grace', j.grace,
            'alerts_pending', (
                select count(*) from public.cronguard_alerts a
                where a.job = j.job and a.state = 'pending'
            ),
            'alerts_dead', (
                select count(*) from public.cronguard_alerts a
                where a.job = j.job and a.state = 'dead'
            )
        ) order by j.job collate "C")
        from public.cronguard_jobs j
    ), '[]');
end $$;

-- A job's newest runs, newest first.
create or replace function public.cronguard_history(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    return coalesce((
        select jsonb_agg(public.cronguard_run_shown(r) order by r.seq desc)
        from (
            select * from public.cron_execution_logs
            where job = request ->> 'job'
            order by seq desc
            limit (request ->> 'limit')::integer
        ) r
    ), '[]');
end $$;

-- Enqueue nothing for the job until then; null ends it. False for an unknown job.
create or replace function public.cronguard_snooze(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    update public.cronguard_jobs set snoozed_until = (request ->> 'until')::timestamptz
    where job = request ->> 'job';
    return found;
end $$;

-- What outlives any pruning (each job's newest run and newest success), and about how many rows
-- there are to look at.
create or replace function public.cronguard_prune_plan(request jsonb) returns jsonb
language plpgsql set search_path = '' set statement_timeout = '60s'
as $$
declare
    _job text;
    _kept jsonb := '[]';
    _found uuid;
begin
    perform public.cronguard_expect(request);
    for _job in select job from public.cronguard_jobs loop
        select run_id into _found from public.cron_execution_logs
            where job = _job order by seq desc limit 1;
        _kept := _kept || to_jsonb(_found);
        select run_id into _found from public.cron_execution_logs
            where job = _job and status = 'success' order by seq desc limit 1;
        if found then
            _kept := _kept || to_jsonb(_found);
        end if;
    end loop;
    return jsonb_build_object('kept', _kept, 'total', (
        select greatest(reltuples::bigint, 0) from pg_catalog.pg_class
        where oid = 'public.cron_execution_logs'::regclass
    ));
end $$;

-- One stretch of the log in the order of run ids: delete what ended before "before". "next" is
-- where to go on, null at the end; then alerts that were sent before that go too.
create or replace function public.cronguard_prune(request jsonb) returns jsonb
language plpgsql set search_path = '' set statement_timeout = '60s'
as $$
declare
    _before constant timestamptz
        := clock_timestamp() - make_interval(secs => (request ->> 'keep')::double precision);
    _seen uuid[];
    _deleted integer;
begin
    perform public.cronguard_expect(request);
    select array_agg(run_id order by run_id) into _seen from (
        select run_id from public.cron_execution_logs
        where run_id > coalesce(
            (request ->> 'after')::uuid, '00000000-0000-0000-0000-000000000000'
        )
        order by run_id
        limit (request ->> 'limit')::integer
    ) stretch;
    delete from public.cron_execution_logs
    where run_id = any (_seen) and status <> 'running'
        and coalesce(finished_at, started_at) < _before
        and not request -> 'kept' ? run_id::text;
    get diagnostics _deleted = row_count;
    if coalesce(cardinality(_seen), 0) < (request ->> 'limit')::integer then
        delete from public.cronguard_alerts where state = 'sent' and settled_at < _before;
    end if;
    return jsonb_build_object(
        'deleted', _deleted,
        'seen', coalesce(cardinality(_seen), 0),
        'next', case when cardinality(_seen) = (request ->> 'limit')::integer
            then _seen[cardinality(_seen)] end
    );
end $$;

-- What is expected of jobs: dead runs of all of them, schedules, runs that go on too long.

-- End the dead runs of every job; the rows that were ended. As in cronguard_start_run, the answer is
-- {"suspects": [...]} first where only the caller can tell who is alive.
create or replace function public.cronguard_sweep(request jsonb) returns jsonb
language plpgsql set search_path = '' set statement_timeout = '60s'
as $$
declare
    _name text;
    _job public.cronguard_jobs;
    _suspects jsonb;
    _before uuid[];
    _crashed jsonb;
begin
    perform public.cronguard_expect(request);
    select array_agg(r.run_id) into _before
    from public.cronguard_jobs j join public.cron_execution_logs r on r.job = j.job
    where r.status = 'running';
    if not request ? 'dead' then
        select jsonb_agg(public.cronguard_suspect(r)) into _suspects
        from public.cron_execution_logs r
        where run_id = any (_before) and status = 'running'
            and process_space = request ->> 'space';
        if _suspects is not null then
            return jsonb_build_object('suspects', _suspects);
        end if;
    end if;
    -- Always in the same order, so that two callers cannot wait for each other.
    for _name in
        select distinct job from public.cron_execution_logs where run_id = any (_before) order by job
    loop
        select * into _job from public.cronguard_jobs where job = _name for update;
        continue when not found;
        perform public.cronguard_sweep_job(_job, request || jsonb_build_object(
            'job', _name, 'rules', coalesce(_job.rules, '[]'), 'runbook', _job.runbook
        ));
    end loop;
    select jsonb_agg(public.cronguard_run_shown(r) order by r.seq) into _crashed
    from public.cron_execution_logs r where run_id = any (_before) and status = 'crashed';
    return jsonb_build_object('crashed', coalesce(_crashed, '[]'));
end $$;

-- Register what is expected of a job before it runs; true if that changed anything.
create or replace function public.cronguard_declare(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _plan constant jsonb := request -> 'plan';
    _job public.cronguard_jobs;
begin
    perform public.cronguard_expect(request);
    _job := public.cronguard_lock_job(request);
    if _job.declared is not distinct from _plan then
        return false;
    end if;
    update public.cronguard_jobs set
        declared = _plan,
        schedule = _plan ->> 'cron',
        timezone = _plan ->> 'timezone',
        grace = (_plan ->> 'grace')::double precision,
        judged_until = case when public.cronguard_plan(_job) = _plan then judged_until
            else clock_timestamp() end,
        seen_until = case when public.cronguard_plan(_job) = _plan then seen_until end
    where job = _job.job;
    return true;
end $$;

-- What is expected of every job, by name, with its runs that are still going.
create or replace function public.cronguard_watches(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    return coalesce((
        select jsonb_agg(jsonb_build_object(
            'job', j.job,
            'rules', coalesce(j.rules, '[]'),
            'schedule', public.cronguard_plan(j),
            'max_runtime', j.max_runtime,
            'runbook', j.runbook,
            'consecutive_failure_count', j.consecutive_failure_count,
            'last_success_at', public.cronguard_rfc3339(j.last_success_at),
            'snoozed_until', public.cronguard_rfc3339(j.snoozed_until),
            'judged_until', public.cronguard_rfc3339(j.judged_until),
            'seen_until', public.cronguard_rfc3339(j.seen_until),
            'running', coalesce((
                select jsonb_agg(public.cronguard_run_shown(r) order by r.seq)
                from public.cron_execution_logs r where r.job = j.job and r.status = 'running'
            ), '[]')
        ) order by j.job collate "C")
        from public.cronguard_jobs j
    ), '[]');
end $$;

-- When the job's runs started that started after a moment, earliest first.
create or replace function public.cronguard_starts(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    return coalesce((
        select jsonb_agg(public.cronguard_rfc3339(started_at) order by started_at)
        from (
            select started_at from public.cron_execution_logs
            where job = request ->> 'job' and started_at > (request ->> 'after')::timestamptz
            order by started_at
            limit (request ->> 'limit')::integer
        ) r
    ), '[]');
end $$;

-- Enqueue the overrun alerts of a run that is still going; whether alerts of its job are due.
-- "alerts": {"key", "channel", "threshold", "louder": keys of later steps}.
create or replace function public.cronguard_announce_overrun(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _run public.cron_execution_logs;
    _job public.cronguard_jobs;
    _due jsonb;
begin
    perform public.cronguard_expect(request);
    select j.* into _job
    from public.cronguard_jobs j join public.cron_execution_logs r on r.job = j.job
    where r.run_id = (request ->> 'run_id')::uuid
    for update of j;
    if not found then
        return false;
    end if;
    select * into _run from public.cron_execution_logs
        where run_id = (request ->> 'run_id')::uuid and status = 'running';
    if not found or coalesce(_job.snoozed_until > clock_timestamp(), false) then
        return false;
    end if;
    for _due in select * from jsonb_array_elements(request -> 'alerts') loop
        continue when exists (
            select 1 from public.cronguard_alerts where alert_key in
                (select value from jsonb_array_elements_text(_due -> 'louder'))
        );
        perform public.cronguard_enqueue(
            _due ->> 'key', 'overrun', _due ->> 'channel',
            jsonb_build_object(
                'job', _run.job, 'run_id', _run.run_id, 'host', _run.host,
                'started_at', public.cronguard_rfc3339(_run.started_at), 'runbook', _job.runbook
            ),
            jsonb_build_object(
                'consecutive_failure_count', _job.consecutive_failure_count,
                'threshold', _due -> 'threshold',
                'error_message', request -> 'message',
                'last_success_at', public.cronguard_rfc3339(_job.last_success_at),
                'duration', request -> 'elapsed'
            )
        );
    end loop;
    return public.cronguard_has_due(_job.job);
end $$;

-- Note until when a job has been judged and enqueue its missed alerts; false if somebody else has
-- judged it meanwhile, or it is snoozed.
create or replace function public.cronguard_announce_missed(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs;
    _due jsonb;
begin
    perform public.cronguard_expect(request);
    select * into _job from public.cronguard_jobs where job = request ->> 'job' for update;
    if not found or _job.judged_until <> (request ->> 'judged_from')::timestamptz
        or (request -> 'alerts' <> '[]' and coalesce(_job.snoozed_until > clock_timestamp(), false))
    then
        return false;
    end if;
    update public.cronguard_jobs set
        judged_until = (request ->> 'judged_until')::timestamptz,
        seen_until = (request ->> 'seen_until')::timestamptz
    where job = _job.job;
    for _due in select * from jsonb_array_elements(request -> 'alerts') loop
        perform public.cronguard_enqueue(
            _due ->> 'key', 'missed', _due ->> 'channel',
            jsonb_build_object('job', _job.job, 'runbook', _job.runbook),
            jsonb_build_object(
                'consecutive_failure_count', _job.consecutive_failure_count,
                'threshold', _due -> 'threshold',
                'error_message', request -> 'message',
                'last_success_at', public.cronguard_rfc3339(_job.last_success_at)
            )
        );
    end loop;
    return true;
end $$;

-- Remove a job, its streak, schedule and open alerts; its runs stay until they are pruned.
create or replace function public.cronguard_forget(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _known boolean;
begin
    perform public.cronguard_expect(request);
    delete from public.cronguard_jobs where job = request ->> 'job';
    _known := found;
    delete from public.cronguard_alerts where job = request ->> 'job' and state <> 'sent';
    return _known;
end $$;

-- Secrets in Supabase Vault: only names that begin with cronguard_, only for service_role and the
-- owner. plpgsql looks at vault's objects when it runs, so this loads where Vault is absent.

-- The name in a request, if it may be reached and there is a Vault at all.
create or replace function public.cronguard_secret_name(request jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    if to_regclass('vault.decrypted_secrets') is null then
        raise exception 'Vault is not enabled in this database' using errcode = 'CG004';
    end if;
    if request ->> 'name' !~ '^cronguard_[A-Za-z0-9_.:-]{1,180}$' then
        raise exception 'only secrets whose names begin with cronguard_ can be reached'
            using errcode = 'CG005';
    end if;
    return request ->> 'name';
end $$;

-- {"value": the secret, null if there is none}. One row by its name: a row under an old root key
-- would break a read of all of them.
create or replace function public.cronguard_secret_get(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _secret text;
begin
    select decrypted_secret into _secret from vault.decrypted_secrets where name = _name;
    return jsonb_build_object('value', _secret);
end $$;

-- create_secret writes the plaintext to the heap and the write-ahead log before it encrypts;
-- update_secret does not. So a placeholder is created, and then updated.
create or replace function public.cronguard_secret_put(key text, about text, value text)
returns void
language plpgsql set search_path = ''
as $$
declare
    _id uuid;
begin
    perform pg_advisory_xact_lock(hashtext('cronguard secret ' || key));
    select id into _id from vault.secrets where name = key;
    if not found then
        _id := vault.create_secret('placeholder', key, about);
    end if;
    perform vault.update_secret(_id, value);
end $$;

-- A server may log what it is asked (log_statement, log_min_duration_statement), but not what it
-- answers. So a secret of "length" bytes is not sent: its exclusive or with random bytes is, which
-- are answered here and kept in Vault until then. {"ticket", "pad": hexadecimal}
create or replace function public.cronguard_secret_pad(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _ticket constant uuid := gen_random_uuid();
    _pad text;
begin
    perform public.cronguard_secret_name(request);
    delete from vault.secrets
    where starts_with(name, 'cronguard pad ') and created_at < now() - interval '1 hour';
    select left(string_agg(
        encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), ''
    ), 2 * (request ->> 'length')::integer)
    into _pad from generate_series(0, (request ->> 'length')::integer / 32);
    perform public.cronguard_secret_put('cronguard pad ' || _ticket, 'on its way', _pad);
    return jsonb_build_object('ticket', _ticket, 'pad', _pad);
end $$;

-- "masked": what cronguard_secret_pad says is sent, hexadecimal.
create or replace function public.cronguard_secret_set(request jsonb) returns void
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _ticket constant text := 'cronguard pad ' || (request ->> 'ticket');
    _masked constant bytea := decode(request ->> 'masked', 'hex');
    _pad bytea;
    _plain bytea;
begin
    select decode(decrypted_secret, 'hex') into strict _pad
        from vault.decrypted_secrets where name = _ticket;
    delete from vault.secrets where name = _ticket;
    select coalesce(string_agg(
        set_byte('\x00', 0, get_byte(_masked, place) # get_byte(_pad, place)), '' order by place
    ), '')
    into _plain from generate_series(0, length(_pad) - 1) as place;
    perform public.cronguard_secret_put(
        _name, 'a secret of cronguard''s', convert_from(_plain, 'UTF8')
    );
end $$;

-- False if there was none.
create or replace function public.cronguard_secret_unset(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
begin
    delete from vault.secrets where name = _name;
    return found;
end $$;

-- Names and dates only.
create or replace function public.cronguard_secrets(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_secret_name('{"name": "cronguard_any"}');
    return coalesce((
        select jsonb_agg(jsonb_build_object(
            'name', name,
            'created_at', public.cronguard_rfc3339(created_at),
            'updated_at', public.cronguard_rfc3339(updated_at)
        ) order by name)
        from vault.secrets where starts_with(name, 'cronguard_')
    ), '[]');
end $$;

-- Who may: the owner, and on Supabase service_role. Nobody else reads, writes or calls anything,
-- whatever the project's default privileges are. On plain PostgreSQL those roles do not exist.

do $$
declare
    _closed_to text := 'public';
    _role text;
    _table text;
    _function regprocedure;
    _sequence text;
    _on_supabase constant boolean
        := exists (select 1 from pg_catalog.pg_roles where rolname = 'service_role');
begin
    foreach _role in array array['anon', 'authenticated'] loop
        if exists (select 1 from pg_catalog.pg_roles where rolname = _role) then
            _closed_to := _closed_to || ', ' || _role;
        end if;
    end loop;

    foreach _table in array array['cron_execution_logs', 'cronguard_jobs', 'cronguard_alerts'] loop
        execute format('alter table public.%I enable row level security', _table);
        execute format('revoke all on table public.%I from %s', _table, _closed_to);
        for _sequence in
            select d.objid::regclass::text from pg_catalog.pg_depend d
            join pg_catalog.pg_class c on c.oid = d.objid and c.relkind = 'S'
            where d.refobjid = ('public.' || _table)::regclass and d.deptype in ('a', 'i')
        loop
            execute format('revoke all on sequence %s from %s', _sequence, _closed_to);
            if _on_supabase then
                execute format('grant usage, select on sequence %s to service_role', _sequence);
            end if;
        end loop;
        if _on_supabase then
            execute format(
                'grant select, insert, update, delete on table public.%I to service_role', _table
            );
            if not exists (
                select 1 from pg_catalog.pg_policies
                where schemaname = 'public' and tablename = _table
                    and policyname = 'cronguard_service'
            ) then
                execute format(
                    'create policy cronguard_service on public.%I to service_role '
                    'using (true) with check (true)', _table
                );
            end if;
        end if;
    end loop;

    for _function in
        select p.oid::regprocedure from pg_catalog.pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname like 'cronguard\_%'
    loop
        execute format('revoke all on function %s from %s', _function, _closed_to);
        if _on_supabase then
            execute format('grant execute on function %s to service_role', _function);
        end if;
    end loop;
end $$;

notify pgrst, 'reload schema';
