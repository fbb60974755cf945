-- cronguard's schema, version 4. Made by cronguard init; safe to apply again.

-- One migration at a time, and none where it must not be: nothing has been changed yet.

select pg_advisory_xact_lock(hashtext('cronguard migration'));
select set_config('lock_timeout', '20s', true);

do $$
declare
    _from constant integer := 0;
    _to constant integer := 4;
    _found integer := 0;
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'this database is encoded in %, and cronguard needs UTF8',
            current_setting('server_encoding')
            using errcode = 'CG010',
            hint = 'Use a database made with: encoding ''UTF8'' template template0';
    end if;
    if to_regprocedure('public.cronguard_schema_version()') is not null then
        execute 'select public.cronguard_schema_version()' into _found;
    end if;
    if _found > _to then
        raise exception 'this database has version % of cronguard''s schema, newer than this '
            'migration''s %', _found, _to
            using errcode = 'CG002', hint = 'Upgrade cronguard where this migration was written.';
    end if;
    if _found < _from then
        raise exception 'this migration upgrades version % of cronguard''s schema, and this '
            'database has version %', _from, _found
            using errcode = 'CG011',
            hint = 'Apply the migrations before it first.';
    end if;
end $$;

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

-- A cron_execution_logs of somebody else's is left alone: existing_log.sql takes one over, on request.

do $$
begin
    if to_regclass('public.cron_execution_logs') is not null and 2 > (
        select count(*) from pg_catalog.pg_attribute
        where attrelid = to_regclass('public.cron_execution_logs') and not attisdropped
            and attname in ('run_id', 'process_space')
    ) then
        raise exception 'this database has a table cron_execution_logs that is not cronguard''s'
            using errcode = 'CG003',
            hint = 'Take it over, its rows as runs of a job: '
                'cronguard init supabase --legacy-job NAME';
    end if;
end $$;

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

-- Version 2: what is expected of a job is stated one by one, and kept otherwise. Version 1 kept the
-- rules of a job's last start whole.
alter table public.cronguard_jobs
    add column if not exists threshold integer not null default 2,
    add column if not exists realert_every integer,
    add column if not exists notify_recovery boolean not null default false,
    add column if not exists sources jsonb not null default '{}',
    add column if not exists channels jsonb,
    add column if not exists channels_stated boolean not null default false,
    add column if not exists stated jsonb;
comment on column public.cronguard_jobs.max_runtime is 'In seconds; null for no limit.';
comment on column public.cronguard_jobs.sources is
    'Name -> {"origin", "since"}, for what somebody has stated.';
comment on column public.cronguard_jobs.declared is
    'Of each host, {"host", "values"}: name -> value, as its settings declared it last.';
comment on column public.cronguard_jobs.channels is
    'Who is notified of crashes and overruns; null for nobody yet.';
comment on column public.cronguard_jobs.channels_stated is
    'Whether they came with a statement; a start that states nothing then leaves them alone.';
comment on column public.cronguard_jobs.stated is 'What the last start stated, as it came.';

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
                    'realert_every', coalesce(nullif(rule -> 'realert_every', 'null'), '0')
                ))
                from jsonb_array_elements(
                    case when jsonb_typeof(rules) = 'array' then rules else '[]' end
                ) as rule
            ),
            notify_recovery = coalesce(rules @> '[{"notify_recovery": true}]', false),
            max_runtime = case when rules is null then 1800 else max_runtime end,
            sources = case when schedule is null then '{}'
                else jsonb_build_object('schedule', jsonb_build_object(
                    'origin', case when declared ->> 'cron' = schedule then 'settings'
                        else 'code' end,
                    'since', registered_at
                )) end,
            timezone = coalesce(timezone, 'UTC'),
            grace = coalesce(grace, 300)
        where true;
        update public.cronguard_jobs set declared = case when declared ->> 'cron' is null then '[]'
            else jsonb_build_array(jsonb_build_object('host', '', 'values', jsonb_build_object(
                'schedule', declared -> 'cron', 'timezone', declared -> 'timezone',
                'grace', declared -> 'grace'
            ))) end
        where true;
        alter table public.cronguard_jobs
            drop column rules,
            alter column timezone set default 'UTC', alter column timezone set not null,
            alter column grace set default 300, alter column grace set not null,
            alter column max_runtime set default 1800,
            alter column declared set default '[]', alter column declared set not null;
    end if;
end $$;

-- Version 3: starts, heartbeats and sweeps name runs that have ended and whose outcomes are not here
-- yet. Only functions have changed.

-- Version 4: a silence is a line of missed occurrences, named by its first, and told of once.
alter table public.cronguard_jobs
    add column if not exists silence_since timestamptz,
    add column if not exists silence_missed integer not null default 0,
    add column if not exists silence_over boolean not null default false,
    add column if not exists silence_announced text[] not null default '{}';
comment on column public.cronguard_jobs.silence_since is
    'The first occurrence of the last silence; null for none, or none since a success.';
comment on column public.cronguard_jobs.silence_over is 'Whether a start has ended it.';
comment on column public.cronguard_jobs.silence_announced is
    'Channels notified of it, or of one before it, and of no success since.';
comment on column public.cronguard_jobs.seen_until is 'Written by clients of version 3 and earlier.';

-- The runs of every job at once.

-- Each job's newest runs, newest first.
-- since version 4
create or replace function public.cronguard_recent(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    request := public.cronguard_checked_request(request, '{"limit": ["limit", 20]}');
    return coalesce((
        select jsonb_agg(
            public.cronguard_run_shown(r.run) order by j.job collate "C", (r.run).seq desc
        )
        from public.cronguard_jobs j
        cross join lateral (
            select run from public.cron_execution_logs run
            where run.job = j.job
            order by run.seq desc
            limit (request ->> 'limit')::integer
        ) r
    ), '[]');
end $$;

-- What each job's runs came to that started at "since" or later: those that are in the same state
-- and started within the same "step" seconds, counted from "since", told of together.
-- since version 4
create or replace function public.cronguard_activity(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
    _since timestamptz;
    _step double precision;
begin
    request := public.cronguard_checked_request(request, '{"since": ["time"], "step": ["span"]}');
    _since := (request ->> 'since')::timestamptz;
    _step := (request ->> 'step')::double precision;
    return coalesce((
        select jsonb_agg(jsonb_build_object(
            'job', a.job, 'status', a.status, 'runs', a.runs,
            'first', public.cronguard_rfc3339(a.first), 'last', public.cronguard_rfc3339(a.last),
            'longest', a.longest / 1000
        ) order by a.job collate "C", a.first, a.status collate "C")
        from (
            select r.job, r.status, count(*) as runs, min(r.started_at) as first,
                max(r.started_at) as last, max(r.duration_ms) as longest
            from public.cronguard_jobs j
            join public.cron_execution_logs r on r.job = j.job and r.started_at >= _since
            group by r.job, r.status, floor(extract(epoch from r.started_at - _since) / _step)
        ) a
    ), '[]');
end $$;

-- The contract of the functions that clients call, in any language: cronguard_<name>(request jsonb).
-- Each takes one JSON object and answers with JSON. Fields that it does not know are passed over; a
-- field that may be left out may be null. Times are RFC 3339 with a zone, in answers always
-- 2026-11-23T06:00:00.000000Z; durations are seconds; ids are UUIDs, made by the client.
--
--   every request         "schema": the version of this schema that the client knows
--   start_run             run_id, job, started_at; host, pid, space, process_started, overlap, lease,
--                         channels, stated, test_mode, dead, ended. {"status", "held_by", "holder"
--                         (that run, as in history), ...}, or
--                         {"suspects"}: asked again with "dead", those of them that are dead
--   finish_run            as start_run, and "outcome": {"status", "finished_at"; "duration",
--                         "error_type", "error_code", "error_message", "error_location"}; started,
--                         notified. {"consecutive_failure_count", "alerts_due", "state"}
--   heartbeat             run_ids; lease, ended. Nothing
--   unlock                job. How many rows lost their lease
--   sweep                 space, dead, ended, lease. {"crashed": [runs]}, or {"suspects"} as start_run
--   declare               job; stated, host. Whether that changed anything
--   watches, status       nothing. A list of jobs
--   starts                job, after; limit. A list of times
--   history               job; limit, statuses, since. A list of runs, newest first
--   recent                limit. A list of runs, each job's newest
--   activity              since, step. A list of {"job", "status", "runs", "first", "last",
--                         "longest"}
--   announce_overrun      run_id, elapsed, message, alerts. Whether alerts of the job are due
--   announce_missed       job, judged_until; judged_from, message, alerts, silence: {"since",
--                         "missed", "over"}. Whether it was written
--   forget                job. Whether it was known
--   snooze                job; until. Whether it is known
--   claim_alerts          channels; job, force, state, limit, claim_for. A list of alerts
--   settle_alert          alert_id, attempt, state; error_code, retry_in. Whether the claim was held
--   alerts_list           state, job, limit. A list of alerts
--   prune_plan            nothing. {"kept": [run ids], "total"}
--   prune                 keep; kept, after, limit, dry_run (count only). {"deleted", "seen",
--                         "next"}
--   secret_get, _unset    name. {"value"}; whether there was one
--   secret_pad, _set      name, length; name, ticket, masked. See vault.sql
--   secrets               nothing. A list of names and dates
--
-- "ended" are runs of the caller's process that have ended and whose outcomes could not be stored yet.
-- Such a row gives up the job's lease at once. Until finish_run is asked the process goes on naming it:
-- it is renewed each time by "lease", and a call that names it does not count it as crashed.
--
-- The functions below say of each field what it may hold and what it is if it is left out. All other
-- functions are parts of these, and not for clients. What a refused request raises, having changed
-- nothing:
--
--   CG001  the client needs a newer schema than this one
--   CG004  there is no Vault in this database
--   CG005  no secret of this name can be reached
--   CG020  the request cannot be: the message names the field and what it must be, not its value
--   CG021  the secret cannot be decrypted: it is of another root key, or damaged
--   CG022  the ticket of a secret is not there: it was used, or is older than an hour
--   CG023  Vault cannot encrypt: its server was given no root key
--
-- and what a migration raises: CG002 (a newer schema is there), CG003 (a log that is not
-- cronguard's), CG010 (not in UTF-8), CG011 (not the version to upgrade). Before a function is
-- reached PostgreSQL refuses text that is no JSON, or none that it can hold (22P02, 22P05, 22003,
-- 54001), a role that may not (42501) and a call that takes too long (57014).

-- Refuse the request.
-- since version 2
create or replace function public.cronguard_refuse(field text, wanted text) returns void
language plpgsql set search_path = ''
as $$
begin
    raise exception 'invalid request: % must be %', field, wanted using errcode = 'CG020';
end $$;

-- Refuse a request that is no object, and a client that is newer than these functions: its request
-- may say what they do not know.
-- since version 2
create or replace function public.cronguard_expect(request jsonb) returns void
language plpgsql set search_path = ''
as $$
declare
    _schema constant text := request ->> 'schema';
begin
    if jsonb_typeof(request) is distinct from 'object' then
        perform public.cronguard_refuse('the request', 'a JSON object');
    elsif _schema !~ '^[1-9][0-9]{0,8}$' then
        perform public.cronguard_refuse('schema', 'the number of a version');
    elsif _schema::integer > public.cronguard_schema_version() then
        raise exception 'this client needs a newer schema' using errcode = 'CG001';
    end if;
end $$;

-- The moment that a text means; null if it means none, or one that Python cannot hold.
-- since version 2
create or replace function public.cronguard_moment(said text) returns timestamptz
language plpgsql stable set search_path = ''
as $$
declare
    _moment timestamptz;
begin
    if said !~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$' then
        return null;
    end if;
    _moment := said::timestamptz;
    return case when _moment >= '0001-01-01 00:00+00' and _moment < '10000-01-01 00:00+00'
        then _moment end;
exception when datetime_field_overflow or invalid_datetime_format then
    return null;
end $$;

-- The request with its defaults and its times as cronguard_rfc3339 writes them, or refused. A list
-- of objects likewise, in which nothing is filled in. "fields": name -> [kind], or [kind, default]
-- for one that may be left out. "within": what they are fields of, for the message.
-- In Python: cronguard.settings.options, whose limits these are.
-- since version 3
create or replace function public.cronguard_checked(
    request jsonb, fields jsonb, within text default null
) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
    -- kind -> [type, pattern, least, most, what it must be]; least and most are of a text's length,
    -- a list's, or a number. What a cron expression means only cronsim knows, and a host may know
    -- time zones that this server does not: neither is looked up. "any" is looked at by itself.
    _kinds constant jsonb := '{
        "any": [],
        "job": ["string", "^[A-Za-z0-9][A-Za-z0-9._:-]*$", 1, 100,
            "a job''s name: 1 to 100 of A-Z a-z 0-9 . _ : -, the first a letter or digit"],
        "channel": ["string", "^[A-Za-z0-9][A-Za-z0-9_-]*$", 1, 64,
            "a channel''s name: 1 to 64 of A-Z a-z 0-9 _ -, the first a letter or digit"],
        "id": ["string", "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$", 0, 36, "a UUID"],
        "time": ["string", null, 0, 40, "a time as 2026-11-23T06:00:00Z"],
        "text": ["string", null, 0, 10000, "a text of at most 10,000 characters"],
        "word": ["string", null, 0, 255, "a text of at most 255 characters"],
        "flag": ["boolean", null, 0, 5, "true or false"],
        "number": ["number", "^[0-9]+$", 0, 1e18, "a whole number from 0"],
        "count": ["number", "^[0-9]+$", 1, 1e6, "a whole number from 1 to 1,000,000"],
        "repeat": ["number", "^[0-9]+$", 0, 1e6, "a whole number from 0 to 1,000,000"],
        "limit": ["number", "^[0-9]+$", 0, 2147483647, "a whole number from 0 to 2,147,483,647"],
        "length": ["number", "^[0-9]+$", 0, 262144, "a whole number from 0 to 262,144"],
        "elapsed": ["number", null, 0, 1e12, "seconds, 0 or more"],
        "seconds": ["number", null, 0, 316224000, "seconds, from 0 to ten years"],
        "span": ["number", null, 1e-6, 316224000, "seconds, more than 0 and at most ten years"],
        "lease": ["number", null, 1e-6, 3600, "seconds, more than 0 and at most 3,600"],
        "pause": ["number", null, 1e-6, 93600, "seconds, more than 0 and at most 93,600"],
        "overlap": ["string", "^(skip|allow)$", 0, 9, "skip or allow"],
        "end": ["string", "^(success|failure|crashed|cancelled|skipped)$", 0, 9,
            "success, failure, crashed, cancelled or skipped"],
        "delivery": ["string", "^(pending|sent|dead)$", 0, 9, "pending, sent or dead"],
        "origin": ["string", "^(code|command|settings)$", 0, 9, "code, command or settings"],
        "schedule": ["string", "^[0-9A-Za-z*,/#?-]+( [0-9A-Za-z*,/#?-]+){4,5}$", 0, 100,
            "a cron expression"],
        "timezone": ["string", "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", 0, 100,
            "the name of a time zone"],
        "runbook": ["string",
            "(?i)^https://[^\\s/?#@]+([/?#][^\\s\\u0001-\\u001f\\u007f]*)?$", 0, 2000,
            "an https:// link of at most 2,000 characters without a user, a password or a key"],
        "masked": ["string", "^([0-9A-Fa-f]{2})*$", 0, 524288, "hexadecimal"],
        "ids": ["array",
            "^\\[(\"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\"(, |(?=\\])))*\\]$", 0, 1e6,
            "a list of UUIDs"],
        "names": ["array", "^\\[(\"[A-Za-z0-9_-]+\"(, |(?=\\])))*\\]$", 0, 1e6,
            "a list of channels'' names"],
        "texts": ["array", null, 0, 1e6, "a list"]
    }'::jsonb;
    _missing text;
    _wrong text[]; -- name, what it must be
    _defaults jsonb;
    _times text[];
    _name text;
    _moment timestamptz;
begin
    with given (name, rule, value, kind, type) as materialized (
        select rule.key, rule.value, nullif(each.value -> rule.key, 'null'),
            _kinds -> (rule.value ->> 0), jsonb_typeof(each.value -> rule.key)
        from jsonb_array_elements(
            case jsonb_typeof(request) when 'array' then request else jsonb_build_array(request) end
        ) as each
        cross join jsonb_each(fields) as rule
    )
    select min(name) filter (where value is null and rule -> 1 is null),
        min(array[name, kind ->> 4]) filter (where case
            when value is null or kind = '[]' then false
            when type <> kind ->> 0 or value #>> '{}' !~ (kind ->> 1) then true
            else not case type
                when 'number' then (value #>> '{}')::numeric
                when 'array' then jsonb_array_length(value)
                else length(value #>> '{}')
            end between (kind ->> 2)::numeric and (kind ->> 3)::numeric
        end),
        jsonb_object_agg(name, rule -> 1) filter (where value is null),
        array_agg(name) filter (where rule ->> 0 = 'time' and value is not null)
    into _missing, _wrong, _defaults, _times
    from given;
    if _missing is not null then
        perform public.cronguard_refuse(concat_ws('.', within, _missing), 'given');
    elsif _wrong is not null then
        perform public.cronguard_refuse(concat_ws('.', within, _wrong[1]), _wrong[2]);
    end if;
    foreach _name in array coalesce(_times, '{}') loop
        _moment := public.cronguard_moment(request ->> _name);
        if _moment is null then
            perform public.cronguard_refuse(
                concat_ws('.', within, _name), 'a time as 2026-11-23T06:00:00Z'
            );
        end if;
        _defaults := coalesce(_defaults, '{}')
            || jsonb_build_object(_name, public.cronguard_rfc3339(_moment));
    end loop;
    return case when _defaults is null then request else request || _defaults end;
end $$;

-- A request that is nothing but these fields. A job or a channel to be looked up may have any name,
-- so that one that cannot be is found, and forgotten, all the same.
-- since version 2
create or replace function public.cronguard_checked_request(request jsonb, fields jsonb)
returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    return public.cronguard_checked(request, fields);
end $$;

-- Refuse statements about a job that cannot be: name -> {"value", "origin"}. Those of a later
-- version are passed over.
-- since version 2
create or replace function public.cronguard_check_stated(stated jsonb) returns void
language plpgsql stable set search_path = ''
as $$
declare
    _rules constant jsonb := '{
        "schedule": ["schedule", null], "timezone": ["timezone"], "grace": ["seconds"],
        "max_runtime": ["span", null], "threshold": ["count"], "realert_every": ["count", null],
        "notify_recovery": ["flag"], "runbook": ["runbook", null]
    }'::jsonb;
    _values jsonb;
    _origins jsonb;
begin
    if jsonb_typeof(stated) is distinct from 'object' then
        perform public.cronguard_refuse('stated', 'an object');
    end if;
    select jsonb_object_agg(key, value -> 'value'),
        jsonb_agg(jsonb_build_object('origin', value -> 'origin'))
    into _values, _origins
    from jsonb_each(stated) where _rules ? key;
    if _values is not null then
        perform public.cronguard_checked(_origins, '{"origin": ["origin"]}', 'stated');
        perform public.cronguard_checked(_values, (
            select jsonb_object_agg(key, value) from jsonb_each(_rules) where _values ? key
        ), 'stated');
        -- Names of parameters that hold a credential, as settings refuse them.
        if regexp_replace(lower(_values ->> 'runbook'), '[-_]', '', 'g') ~ ('[?&;#]([^=&;#]*(token|'
            || 'secret|password|passwd|apikey|accesskey|signature)|auth|sig|pwd)=[^&;#]')
        then
            perform public.cronguard_refuse('stated.runbook', 'a link without a key');
        end if;
    end if;
end $$;

-- Refuse a run whose channels or statements cannot be. What the job's last start said was looked at
-- then.
-- since version 2
create or replace function public.cronguard_check_statement(known public.cronguard_jobs, run jsonb)
returns void
language plpgsql stable set search_path = ''
as $$
begin
    if known.stated -> 'channels' is distinct from run -> 'channels' then
        if jsonb_typeof(run -> 'channels') <> 'array' then
            perform public.cronguard_refuse('channels', 'a list');
        end if;
        perform public.cronguard_checked(run -> 'channels', '{
            "channel": ["channel"], "threshold": ["count", null], "realert_every": ["repeat", null]
        }', 'channels');
    end if;
    if known.stated -> 'stated' is distinct from run -> 'stated' then
        perform public.cronguard_check_stated(run -> 'stated');
    end if;
end $$;

-- Whether a run, and an outcome, is as cronguard's own clients write it most of the time. Each is one
-- expression, which costs a run a twentieth of what it costs to look at the fields one by one. The
-- rules are below, and what passes here passes there unchanged: a test sees to that.
-- since version 3
create or replace function public.cronguard_is_usual_run(request jsonb) returns boolean
language plpgsql immutable set search_path = ''
as $$
begin
    return coalesce(
        jsonb_typeof(request -> 'job') = 'string'
        and request ->> 'job' ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$'
        and request ->> 'run_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        and request ->> 'started_at' ~ (
            '^[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|'
            || '02-(0[1-9]|1[0-9]|2[0-8]))T([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{6}Z$')
        and jsonb_typeof(request -> 'host') = 'string' and length(request ->> 'host') < 256
        and jsonb_typeof(request -> 'pid') = 'number' and request ->> 'pid' ~ '^[0-9]{1,15}$'
        and coalesce(jsonb_typeof(request -> 'space'), 'null') in ('string', 'null')
        and length(coalesce(request ->> 'space', '')) < 256
        and coalesce(jsonb_typeof(request -> 'process_started'), 'null') in ('string', 'null')
        and length(coalesce(request ->> 'process_started', '')) < 256
        and request ->> 'overlap' in ('skip', 'allow')
        and jsonb_typeof(request -> 'lease') = 'number'
        and request ->> 'lease' ~ '^[1-9][0-9]{0,2}(\.[0-9]{1,6})?$'
        and jsonb_typeof(request -> 'test_mode') = 'boolean'
        and jsonb_typeof(request -> 'channels') = 'array'
        and jsonb_typeof(request -> 'stated') = 'object'
        and (jsonb_typeof(request -> 'started') = 'boolean' or not request ?| '{started,outcome}')
        and not request ?| '{dead,ended,notified,rules,told}',
        false
    );
end $$;

-- since version 2
create or replace function public.cronguard_is_usual_outcome(outcome jsonb) returns boolean
language plpgsql immutable set search_path = ''
as $$
begin
    return coalesce(
        jsonb_typeof(outcome) = 'object'
        and outcome ->> 'status' in ('success', 'failure')
        and outcome ->> 'finished_at' ~ (
            '^[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|'
            || '02-(0[1-9]|1[0-9]|2[0-8]))T([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{6}Z$')
        and jsonb_typeof(outcome -> 'duration') = 'number'
        and outcome ->> 'duration' ~ '^[0-9]{1,9}(\.[0-9]{1,6})?$'
        and not outcome ?| '{error_type,error_code,error_message,error_location}',
        false
    );
end $$;

-- A start or a finish, in the words of this version; cronguard_check_statement looks at the rest.
-- since version 3
create or replace function public.cronguard_checked_run(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    if public.cronguard_is_usual_run(request) then
        return request;
    end if;
    return public.cronguard_checked(public.cronguard_current(request), '{
        "run_id": ["id"], "job": ["job"], "started_at": ["time"],
        "host": ["word", null], "pid": ["number", null],
        "space": ["word", null], "process_started": ["word", null],
        "overlap": ["overlap", "skip"], "lease": ["lease", 90], "test_mode": ["flag", false],
        "channels": ["any", []], "stated": ["any", {}],
        "dead": ["ids", null], "ended": ["ids", null],
        "started": ["flag", false], "notified": ["names", null]
    }');
end $$;

-- How a run ended.
-- since version 2
create or replace function public.cronguard_checked_outcome(outcome jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    if public.cronguard_is_usual_outcome(outcome) then
        return outcome;
    elsif jsonb_typeof(outcome) is distinct from 'object' then
        perform public.cronguard_refuse('outcome', 'an object');
    end if;
    return public.cronguard_checked(outcome, '{
        "status": ["end"], "finished_at": ["time"], "duration": ["elapsed", null],
        "error_type": ["word", null], "error_code": ["word", null],
        "error_message": ["text", null], "error_location": ["text", null]
    }', 'outcome');
end $$;

-- A declaration, in the words of this version: there settings gave a plan, which was a schedule.
-- since version 2
create or replace function public.cronguard_checked_declaration(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    if jsonb_typeof(request -> 'plan') = 'object' then
        request := request || jsonb_build_object('stated', (
            select jsonb_object_agg(
                case key when 'cron' then 'schedule' else key end,
                jsonb_build_object('value', value, 'origin', 'settings')
            )
            from jsonb_each(request -> 'plan')
        ));
    end if;
    request := public.cronguard_checked(
        request, '{"job": ["job"], "stated": ["any", {}], "host": ["word", null]}'
    );
    perform public.cronguard_check_stated(request -> 'stated');
    return request;
end $$;

-- Overruns or missed starts to announce.
-- since version 2
create or replace function public.cronguard_checked_news(request jsonb, fields jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    request := public.cronguard_checked_request(
        request, fields || '{"message": ["text", null], "alerts": ["any", []]}'
    );
    if jsonb_typeof(request -> 'alerts') <> 'array' then
        perform public.cronguard_refuse('alerts', 'a list');
    end if;
    perform public.cronguard_checked(request -> 'alerts', '{
        "key": ["text"], "channel": ["channel"], "threshold": ["count"],
        "later": ["texts", null], "louder": ["texts", null]
    }', 'alerts');
    return request;
end $$;

-- What the functions below have in common. Each that a client calls takes one JSON object, so that a
-- newer or older client can say more or less.

-- Always UTC and always microseconds, as cronguard.core.clock.rfc3339 writes it.
create or replace function public.cronguard_rfc3339(moment timestamptz) returns text
language sql stable set search_path = ''
as $$ select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

-- A request of version 1 in the words of this one: there a start named a rule for each channel, and
-- a schedule, a max_runtime and a runbook of the job's, null for none.
-- since version 2
create or replace function public.cronguard_current(request jsonb) returns jsonb
language sql immutable set search_path = ''
as $$
    select case when not request ? 'rules' then request else request || jsonb_build_object(
        'channels', case when jsonb_typeof(request -> 'rules') <> 'array' then request -> 'rules'
            else coalesce((
                select jsonb_agg(jsonb_build_object(
                    'channel', rule -> 'channel',
                    'threshold', rule -> 'threshold',
                    'realert_every', coalesce(nullif(rule -> 'realert_every', 'null'), '0')
                ))
                from jsonb_array_elements(request -> 'rules') as rule
            ), '[]') end,
        'stated', (
            select jsonb_object_agg(name, jsonb_build_object('value', value, 'origin', 'code'))
            from (
                values
                    ('max_runtime', request -> 'max_runtime'),
                    ('runbook', request -> 'runbook'),
                    ('notify_recovery',
                        to_jsonb(request -> 'rules' @> '[{"notify_recovery": true}]')),
                    ('schedule', coalesce(request #> '{schedule,cron}', 'null')),
                    ('timezone', request #> '{schedule,timezone}'),
                    ('grace', request #> '{schedule,grace}')
            ) as said (name, value)
            where value is not null
        )
    ) end || case when request ? 'told'
        then jsonb_build_object('notified', request -> 'told') else '{}' end
$$;

-- What is expected of a job; null for no schedule, no limit, one alert an incident, no runbook.
-- since version 2
create or replace function public.cronguard_expected(known public.cronguard_jobs) returns jsonb
language plpgsql immutable set search_path = ''
as $$
begin -- not in language sql, which costs each run ten times as much
    return jsonb_build_object(
        'schedule', known.schedule, 'timezone', known.timezone, 'grace', known.grace,
        'max_runtime', known.max_runtime, 'threshold', known.threshold,
        'realert_every', known.realert_every, 'notify_recovery', known.notify_recovery,
        'runbook', known.runbook
    );
end $$;

-- A job's schedule; JSON's null for none.
create or replace function public.cronguard_plan(job public.cronguard_jobs) returns jsonb
language sql immutable set search_path = ''
as $$
    select case when job.schedule is null then 'null'::jsonb else jsonb_build_object(
        'cron', job.schedule, 'timezone', job.timezone, 'grace', job.grace
    ) end
$$;

-- Those of a job's channels that can be read: a row may have been written by hand.
-- since version 2
create or replace function public.cronguard_channels(channels jsonb) returns jsonb
language sql immutable set search_path = ''
as $$
    select coalesce(jsonb_agg(each), '[]')
    from jsonb_array_elements(
        case when jsonb_typeof(channels) = 'array' then channels else '[]' end
    ) as each
    where jsonb_typeof(each -> 'channel') = 'string'
        and coalesce(each ->> 'threshold', '1') ~ '^[0-9]{1,7}$'
        and coalesce(each ->> 'realert_every', '0') ~ '^[0-9]{1,7}$'
$$;

-- The alert rule of each channel: what it overrides, and the job's own for the rest. In Python:
-- cronguard.core.alert_rule.alert_rules.
-- since version 2
create or replace function public.cronguard_rules(known public.cronguard_jobs, channels jsonb)
returns jsonb
language sql immutable set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'channel', each ->> 'channel',
        'threshold', coalesce((each ->> 'threshold')::integer, known.threshold),
        'realert_every', coalesce((each ->> 'realert_every')::integer, known.realert_every),
        'notify_recovery', known.notify_recovery
    )), '[]')
    from jsonb_array_elements(public.cronguard_channels(channels)) as each
$$;

-- Note that a start has ended the job's silence, unless it is one from before it; the job as it is
-- then. Its row must be locked. In Python: cronguard.core.alert_rule.ends_silence.
-- since version 4
create or replace function public.cronguard_end_silence(
    known public.cronguard_jobs, started_at timestamptz
) returns public.cronguard_jobs
language plpgsql set search_path = ''
as $$
begin
    if known.silence_since <= started_at + interval '10 seconds' and not known.silence_over then
        known.silence_over := true;
        -- What was missed before the start is part of the silence, judged or not; what was missed
        -- since, where the start is told late, is another one.
        known.judged_until := started_at - make_interval(secs => known.grace);
        update public.cronguard_jobs set silence_over = true, judged_until = known.judged_until
        where job = known.job;
    end if;
    return known;
end $$;

-- A job's silence; JSON's null for none.
-- since version 4
create or replace function public.cronguard_silence(known public.cronguard_jobs) returns jsonb
language sql stable set search_path = ''
as $$
    select case when known.silence_since is null then 'null'::jsonb else jsonb_build_object(
        'since', public.cronguard_rfc3339(known.silence_since), 'missed', known.silence_missed,
        'over', known.silence_over, 'announced', to_jsonb(known.silence_announced)
    ) end
$$;

-- The job's row, locked until the transaction ends; a job that is not known is registered.
-- since version 2
create or replace function public.cronguard_lock_job(request jsonb) returns public.cronguard_jobs
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs;
begin
    loop
        select * into _job from public.cronguard_jobs where job = request ->> 'job' for update;
        exit when found;
        insert into public.cronguard_jobs (job, registered_at, judged_until)
            values (request ->> 'job', clock_timestamp(), clock_timestamp())
            on conflict (job) do nothing;
    end loop;
    return _job;
end $$;

-- The job as it is once this is stated of it: name -> {"value", "origin"}. What is not stated stays;
-- a schedule that differs counts from now on, and what it silenced is over.
-- since version 4
create or replace function public.cronguard_apply(known public.cronguard_jobs, stated jsonb)
returns public.cronguard_jobs
language plpgsql set search_path = ''
as $$
declare
    _now constant timestamptz := clock_timestamp();
    _plan constant jsonb := public.cronguard_plan(known);
    _expected jsonb := public.cronguard_expected(known);
    _each record;
begin
    if jsonb_typeof(known.sources) is distinct from 'object' then
        known.sources := '{}';
    end if;
    for _each in
        select key as name, value -> 'value' as value, value -> 'origin' as origin
        from jsonb_each(stated)
    loop
        continue when not _expected ? _each.name; -- of a later version
        if _expected -> _each.name is distinct from _each.value
            or known.sources #> array[_each.name, 'origin'] is distinct from _each.origin
        then
            known.sources := known.sources || jsonb_build_object(_each.name, jsonb_build_object(
                'origin', _each.origin, 'since', public.cronguard_rfc3339(_now)
            ));
            _expected := _expected || jsonb_build_object(_each.name, _each.value);
        end if;
    end loop;
    known.schedule := _expected ->> 'schedule';
    known.timezone := _expected ->> 'timezone';
    known.grace := (_expected ->> 'grace')::double precision;
    known.max_runtime := (_expected ->> 'max_runtime')::double precision;
    known.threshold := (_expected ->> 'threshold')::integer;
    known.realert_every := (_expected ->> 'realert_every')::integer;
    known.notify_recovery := (_expected ->> 'notify_recovery')::boolean;
    known.runbook := _expected ->> 'runbook';
    if public.cronguard_plan(known) <> _plan then
        known.judged_until := _now;
        known.seen_until := null;
        known.silence_over := known.silence_since is not null;
    end if;
    return known;
end $$;

-- Write what cronguard_apply has made of the job.
-- since version 4
create or replace function public.cronguard_save_expected(known public.cronguard_jobs) returns void
language sql set search_path = ''
as $$
    update public.cronguard_jobs set
        schedule = known.schedule, timezone = known.timezone, grace = known.grace,
        max_runtime = known.max_runtime, threshold = known.threshold,
        realert_every = known.realert_every, notify_recovery = known.notify_recovery,
        runbook = known.runbook, sources = known.sources, declared = known.declared,
        channels = known.channels, channels_stated = known.channels_stated,
        stated = known.stated,
        judged_until = known.judged_until, seen_until = known.seen_until,
        silence_over = known.silence_over
    where job = known.job
$$;

-- Keep what a start states of its job, and its channels; the job as it is then. Channels that came
-- with a statement are left alone by a start that states nothing. "late": told by the run's end, since
-- its start was not stored; what was stated since it started stands. In Python:
-- cronguard.core.expectations.restate and restate_late.
-- since version 3
create or replace function public.cronguard_restate(
    known public.cronguard_jobs, request jsonb, late boolean
) returns public.cronguard_jobs
language plpgsql set search_path = ''
as $$
declare
    _stated jsonb := coalesce(request -> 'stated', '{}');
    _statement constant jsonb
        := jsonb_build_object('channels', request -> 'channels', 'stated', request -> 'stated');
    _states constant boolean := _stated <> '{}';
    _channels constant jsonb := case when _states or not known.channels_stated
        then nullif(request -> 'channels', '[]') end;
begin
    if known.stated = _statement and not late
        or not _states and (_channels is null or _channels = known.channels)
    then
        return known;
    end if;
    if late then
        select coalesce(jsonb_object_agg(key, value), '{}') into _stated
        from jsonb_each(_stated)
        where not coalesce(
            public.cronguard_moment(known.sources #>> array[key, 'since'])
            >= (request ->> 'started_at')::timestamptz, false
        );
    end if;
    -- Code that gives no schedule leaves the one alone that settings declare.
    if _stated -> 'schedule' = '{"value": null, "origin": "code"}'
        and known.sources #>> '{schedule,origin}' = 'settings'
    then
        select coalesce(jsonb_object_agg(key, value), '{}') into _stated
        from jsonb_each(_stated)
        where value ->> 'origin' <> 'code' or key not in ('schedule', 'timezone', 'grace')
            or coalesce(known.sources #>> array[key, 'origin'] <> 'settings', true);
    end if;
    known := public.cronguard_apply(known, _stated);
    if _channels is not null then
        known.channels := _channels;
        known.channels_stated := _states;
    end if;
    -- Of a late statement some may not hold: a start that states the same must be compared.
    known.stated := case when not late then _statement end;
    perform public.cronguard_save_expected(known);
    return known;
end $$;

-- What is expected of jobs: dead runs of all of them, schedules, runs that go on too long.

-- End the dead runs of every job; the rows that were ended. As in cronguard_start_run, the answer is
-- {"suspects": [...]} first where only the caller can tell who is alive, and runs that have "ended"
-- give up their lease.
-- since version 3
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
    request := public.cronguard_checked_request(request, '{
        "space": ["word", null], "dead": ["ids", null], "ended": ["ids", []], "lease": ["lease", 90]
    }');
    select array_agg(r.run_id) into _before
    from public.cronguard_jobs j join public.cron_execution_logs r on r.job = j.job
    where r.status = 'running';
    if request ->> 'dead' is null then
        select jsonb_agg(public.cronguard_suspect(r)) into _suspects
        from public.cron_execution_logs r
        where run_id = any (_before) and status = 'running'
            and process_space = request ->> 'space'
            and not lower(request ->> 'ended')::jsonb ? run_id::text;
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
        begin
            perform public.cronguard_sweep_job(_job, request || '{"channels": []}');
        exception when data_exception or integrity_constraint_violation then
            null; -- a row that cannot be: the other jobs go on
        end;
    end loop;
    select jsonb_agg(public.cronguard_run_shown(r) order by r.seq) into _crashed
    from public.cron_execution_logs r where run_id = any (_before) and status = 'crashed';
    return jsonb_build_object('crashed', coalesce(_crashed, '[]'));
end $$;

-- Register what a host's settings expect of a job before it runs; true if that changed anything. What
-- is news replaces what was kept: what the host declared otherwise the last time, or, from a host that
-- declares for the first time, what no host declares. Code that gave no schedule stated none. In
-- Python: cronguard.core.expectations.redeclare and declare.
-- since version 2
create or replace function public.cronguard_declare(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _request constant jsonb := public.cronguard_checked_declaration(request);
    _stated constant jsonb := _request -> 'stated';
    _host constant text := coalesce(_request ->> 'host', '');
    _job public.cronguard_jobs;
    _before public.cronguard_jobs;
    _no_schedule boolean;
    _last jsonb; -- what this host declared the last time
    _values jsonb;
begin
    _job := public.cronguard_lock_job(_request);
    if jsonb_typeof(_job.declared) is distinct from 'array' then
        _job.declared := '[]';
    end if;
    _before := _job;
    _no_schedule := _job.schedule is null
        and coalesce(_job.sources #>> '{schedule,origin}' = 'code', false);
    select each -> 'values' into _last
        from jsonb_array_elements(_job.declared) as each where each ->> 'host' = _host;
    _job := public.cronguard_apply(_job, coalesce((
        select jsonb_object_agg(said.key, said.value) from jsonb_each(_stated) as said
        where not coalesce(_before.sources ? said.key, false)
            or case when _last is not null
                then _last -> said.key is distinct from said.value -> 'value'
                else not exists (
                    select 1 from jsonb_array_elements(_before.declared) as told
                    where told.value -> 'values' -> said.key = said.value -> 'value'
                ) end
            or _no_schedule and said.key in ('schedule', 'timezone', 'grace')
    ), '{}'));
    select coalesce(jsonb_object_agg(key, value -> 'value'), '{}') into _values
        from jsonb_each(_stated);
    if _last is distinct from _values then
        select coalesce(jsonb_agg(each order by place), '[]') into _job.declared from (
            select each, place
            from jsonb_array_elements(_before.declared) with ordinality as d (each, place)
            where each ->> 'host' <> _host
            order by place desc limit 19 -- cronguard.core.expectations.MAX_DECLARING_HOSTS
        ) others;
        _job.declared := _job.declared
            || jsonb_build_array(jsonb_build_object('host', _host, 'values', _values));
    end if;
    if _job is not distinct from _before then
        return false;
    end if;
    _job.stated := null; -- so that the next start compares all that it states
    perform public.cronguard_save_expected(_job);
    return true;
end $$;

-- What is expected of every job, by name, with its runs that are still going.
-- since version 4
create or replace function public.cronguard_watches(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    return coalesce((
        select jsonb_agg(jsonb_build_object(
            'job', j.job,
            'expected', public.cronguard_expected(j),
            'sources', j.sources,
            'channels', coalesce(j.channels, '[]'),
            'consecutive_failure_count', j.consecutive_failure_count,
            'last_success_at', public.cronguard_rfc3339(j.last_success_at),
            'snoozed_until', public.cronguard_rfc3339(j.snoozed_until),
            'judged_until', public.cronguard_rfc3339(j.judged_until),
            'seen_until', public.cronguard_rfc3339(j.seen_until),
            'silence', public.cronguard_silence(j),
            'running', coalesce((
                select jsonb_agg(public.cronguard_run_held(r) order by r.seq)
                from public.cron_execution_logs r where r.job = j.job and r.status = 'running'
            ), '[]')
        ) || case when (request ->> 'schema')::integer > 1 then '{}' else jsonb_build_object(
            'rules', public.cronguard_rules(j, coalesce(j.channels, '[]')),
            'schedule', public.cronguard_plan(j),
            'max_runtime', j.max_runtime,
            'runbook', j.runbook
        ) end order by j.job collate "C")
        from public.cronguard_jobs j
    ), '[]');
end $$;

-- When the job's runs started that started after a moment, earliest first.
-- since version 2
create or replace function public.cronguard_starts(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    request := public.cronguard_checked_request(request, '{
        "job": ["text"], "after": ["time"], "limit": ["limit", 10000]
    }');
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
-- "alerts": {"key", "channel", "threshold", "later": keys of later steps}.
-- since version 2
create or replace function public.cronguard_announce_overrun(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _run public.cron_execution_logs;
    _job public.cronguard_jobs;
    _due jsonb;
begin
    request := public.cronguard_checked_news(
        request, '{"run_id": ["id"], "elapsed": ["elapsed", null]}'
    );
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
                (select value from jsonb_array_elements_text(
                    coalesce(nullif(_due -> 'later', 'null'), nullif(_due -> 'louder', 'null'))
                ))
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

-- Note until when a job has been judged, and its silence, and enqueue its missed alerts; false if
-- somebody else has judged it meanwhile, it is snoozed, or a run has started since in a silence that
-- goes on. A client of version 3 or earlier names no silence. In Python:
-- cronguard.core.alert_rule.missed_alerts and announced_silence.
-- since version 4
create or replace function public.cronguard_announce_missed(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs;
    _silence jsonb;
    _due jsonb;
begin
    request := public.cronguard_checked_news(request, '{
        "job": ["text"], "judged_from": ["time", null], "judged_until": ["time"],
        "seen_until": ["time", null], "silence": ["any", null]
    }');
    if jsonb_typeof(request -> 'silence') = 'object' then
        _silence := public.cronguard_checked(
            request -> 'silence',
            '{"since": ["time"], "missed": ["limit"], "over": ["flag"]}', 'silence'
        );
    elsif jsonb_typeof(request -> 'silence') <> 'null' then
        perform public.cronguard_refuse('silence', 'an object');
    end if;
    select * into _job from public.cronguard_jobs where job = request ->> 'job' for update;
    if not found or _job.judged_until is distinct from (request ->> 'judged_from')::timestamptz
        or (request -> 'alerts' <> '[]' and coalesce(_job.snoozed_until > clock_timestamp(), false))
    then
        return false;
    end if;
    if not (_silence ->> 'over')::boolean and exists (
        select 1 from public.cron_execution_logs
        where job = _job.job
            and started_at >= (_silence ->> 'since')::timestamptz - interval '10 seconds'
            -- One that is still to come was noted by a clock that is ahead.
            and started_at <= interval '10 seconds'
                + greatest((request ->> 'judged_until')::timestamptz, clock_timestamp())
    ) then
        return false;
    end if;
    update public.cronguard_jobs set
        judged_until = (request ->> 'judged_until')::timestamptz,
        seen_until = (request ->> 'seen_until')::timestamptz
    where job = _job.job;
    if _silence is not null then
        update public.cronguard_jobs set
            silence_since = (_silence ->> 'since')::timestamptz,
            silence_missed = (_silence ->> 'missed')::integer,
            silence_over = (_silence ->> 'over')::boolean,
            silence_announced = array(
                select unnest(silence_announced)
                union
                select each ->> 'channel' from jsonb_array_elements(request -> 'alerts') as each
            )
        where job = _job.job;
    end if;
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
-- since version 2
create or replace function public.cronguard_forget(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _known boolean;
begin
    request := public.cronguard_checked_request(request, '{"job": ["text"]}');
    delete from public.cronguard_jobs where job = request ->> 'job';
    _known := found;
    delete from public.cronguard_alerts where job = request ->> 'job' and state <> 'sent';
    return _known;
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
-- since version 2
create or replace function public.cronguard_claim_alerts(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _request constant jsonb := public.cronguard_checked_request(request, '{
        "channels": ["texts"], "job": ["text", null], "force": ["flag", false],
        "state": ["delivery", "pending"], "limit": ["limit", 100], "claim_for": ["pause", 10]
    }');
    _until constant timestamptz := clock_timestamp()
        + make_interval(secs => (_request ->> 'claim_for')::double precision);
    _claimed jsonb;
begin
    with picked as materialized (
        select alert_id from public.cronguard_alerts
        where state = _request ->> 'state' and state <> 'sent'
            and _request -> 'channels' ? channel
            and (_request ->> 'job' is null or job = _request ->> 'job')
            and (claimed_until is null or public.cronguard_is_over(claimed_until, created_at))
            and ((_request ->> 'force')::boolean or public.cronguard_is_over(due_at, created_at))
        order by seq
        limit (_request ->> 'limit')::integer
        for update skip locked
    ), taken as (
        update public.cronguard_alerts a set
            state = 'pending', attempts = least(attempts, 2147483646) + 1, claimed_until = _until, due_at = _until
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
-- since version 2
create or replace function public.cronguard_settle_alert(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _now constant timestamptz := clock_timestamp();
begin
    request := public.cronguard_checked_request(request, '{
        "alert_id": ["id"], "attempt": ["limit"], "state": ["delivery"], "error_code": ["word", null],
        "retry_in": ["seconds", 0]
    }');
    update public.cronguard_alerts set
        state = request ->> 'state',
        error_code = request ->> 'error_code',
        claimed_until = null,
        due_at = _now
            + make_interval(secs => (request ->> 'retry_in')::double precision),
        settled_at = case when request ->> 'state' <> 'pending' then _now end
    where alert_id = (request ->> 'alert_id')::uuid
        and attempts = (request ->> 'attempt')::integer
        and state = 'pending';
    return found;
end $$;

-- Outbox rows, newest first.
-- since version 2
create or replace function public.cronguard_alerts_list(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    request := public.cronguard_checked_request(request, '{
        "job": ["text", null], "state": ["delivery", null], "limit": ["limit", 100]
    }');
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

-- How a run ended: the streak and the alerts that are due. The rule is
-- cronguard/core/alert_rule.py; one test runs on both.

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
-- since version 4
create or replace function public.cronguard_job_state(job public.cronguard_jobs) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
    _rfc3339 constant text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
    _state jsonb;
begin
    _state := jsonb_build_object(
        'consecutive_failure_count', coalesce(job.consecutive_failure_count, 0),
        'incident_id', job.incident_id,
        'announced', coalesce(job.announced, '{}'),
        'last_success_at', to_char(job.last_success_at at time zone 'UTC', _rfc3339),
        'last_counted_run', job.last_counted_run,
        'snoozed_until', to_char(job.snoozed_until at time zone 'UTC', _rfc3339),
        'expected', public.cronguard_expected(job)
    );
    if job.silence_since is not null then
        _state := _state || jsonb_build_object('silence', public.cronguard_silence(job));
    end if;
    return _state;
end $$;

-- Write an outcome, the job's new state and the alerts that are due:
-- cronguard.core.alert_rule.decide, in SQL. The job's row must be locked. "late": the success of a
-- run that had been counted as crashed.
-- since version 4
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
    _rules jsonb := '[]'::jsonb;
    _run constant jsonb := run || jsonb_build_object('runbook', before.runbook);
    _after public.cronguard_jobs := before;
    _count integer;
    _over bigint;
    _notified boolean;
    _ends boolean := false; -- what was announced of incident and silence
    _rule jsonb;
    _facts jsonb;
begin
    -- What only a row that was written by hand lacks.
    before.announced := coalesce(before.announced, '{}');
    before.consecutive_failure_count := coalesce(before.consecutive_failure_count, 0);
    -- Most runs go well, and there is nobody to notify.
    if _status not in ('success', 'cancelled', 'skipped') or cardinality(before.announced) > 0
        or before.silence_since is not null or (run ->> 'test_mode')::boolean
    then
        _rules := public.cronguard_rules(
            before, coalesce(nullif(run -> 'channels', '[]'), before.channels, '[]')
        );
    end if;
    if _status in ('cancelled', 'skipped') then
        _count := before.consecutive_failure_count;
    elsif _status = 'success' then
        _count := 0;
        _ends := not late or before.last_counted_run is not distinct from _run_id;
        if not _ends then
            _after.last_success_at := greatest(before.last_success_at, _finished);
        else
            _after.last_success_at := _finished;
            _after.consecutive_failure_count := 0;
            _after.incident_id := null;
            _after.announced := '{}';
            _after.last_counted_run := _run_id;
            if before.silence_over then
                _after.silence_since := null;
                _after.silence_missed := 0;
                _after.silence_over := false;
                _after.silence_announced := '{}';
            end if;
        end if;
    else
        _count := before.consecutive_failure_count + 1;
        _after.consecutive_failure_count := _count;
        _after.incident_id := coalesce(before.incident_id, _run_id);
        _after.last_counted_run := _run_id;
        -- Channels that this host has notified of the outcome already.
        select before.announced || coalesce(array_agg(each.value ->> 'channel'), '{}')
            into _after.announced
            from jsonb_array_elements(_rules) as each
            where run -> 'notified' ? (each.value ->> 'channel')
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
    for _rule in select * from jsonb_array_elements(_rules) loop
        continue when _snoozed or _status in ('cancelled', 'skipped')
            or run -> 'notified' ? (_rule ->> 'channel');
        _facts := jsonb_set(_facts, '{threshold}', _rule -> 'threshold');
        _notified := (_rule ->> 'channel') = any (_after.announced);
        if _status = 'success' then
            continue when not _ends or not (_rule ->> 'notify_recovery')::boolean;
            if (_rule ->> 'channel') = any (before.announced) then
                perform public.cronguard_enqueue(
                    format('%s/%s/recovered/%s', before.job,
                        coalesce(before.incident_id, _run_id), _rule ->> 'channel'),
                    'recovered', _rule ->> 'channel', _run, _facts
                );
            elsif before.silence_over and (_rule ->> 'channel') = any (before.silence_announced)
            then
                perform public.cronguard_enqueue(
                    format('%s/silence/%s/%s/recovered', before.job,
                        public.cronguard_rfc3339(before.silence_since), _rule ->> 'channel'),
                    'recovered', _rule ->> 'channel', _run, _facts
                );
            end if;
            continue;
        end if;
        _over := _count::bigint - (_rule ->> 'threshold')::integer;
        if _over >= 0 and not _notified then
            perform public.cronguard_enqueue(
                format('%s/%s/failing/%s', before.job, _after.incident_id, _rule ->> 'channel'),
                'failing', _rule ->> 'channel', _run, _facts
            );
            _after.announced := _after.announced || (_rule ->> 'channel');
        elsif _over > 0 and _over % nullif((_rule ->> 'realert_every')::integer, 0) = 0 then
            perform public.cronguard_enqueue(
                format('%s/%s/%s/%s', before.job, _after.incident_id, _count, _rule ->> 'channel'),
                'still_failing', _rule ->> 'channel', _run, _facts
            );
        end if;
    end loop;
    if (run ->> 'test_mode')::boolean and not _snoozed and _status <> 'skipped' then
        for _rule in select * from jsonb_array_elements(_rules) loop
            continue when run -> 'notified' ? (_rule ->> 'channel');
            perform public.cronguard_enqueue(
                format('%s/%s/test/%s', before.job, run ->> 'run_id', _rule ->> 'channel'),
                'test', _rule ->> 'channel', _run,
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
            last_counted_run = _after.last_counted_run,
            silence_since = _after.silence_since,
            silence_missed = _after.silence_missed,
            silence_over = _after.silence_over,
            silence_announced = _after.silence_announced
        where job = before.job;
    end if;
    return _count;
end $$;

-- Count the job's dead runs; the run that still holds the job, null if none does. The job's row must
-- be locked. "dead" in the request are those of the caller's own process space; those that have
-- "ended" are renewed, and give up the lease.
-- since version 3
create or replace function public.cronguard_sweep_job(held public.cronguard_jobs, request jsonb)
returns uuid
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs := held;
    _run_id constant uuid := (request ->> 'run_id')::uuid;
    _ended constant jsonb := lower(request ->> 'ended')::jsonb;
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
        if _ended ? _row.run_id::text then
            update public.cron_execution_logs set
                holds_lease = false,
                lease_expires_at
                    = _now + make_interval(secs => (request ->> 'lease')::double precision)
            where run_id = _row.run_id;
            continue;
        end if;
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
                jsonb_build_object(
                    'job', _job.job, 'run_id', _row.run_id, 'host', _row.host, 'test_mode', false,
                    'channels', coalesce(_job.channels, request -> 'channels'),
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
-- is {"suspects": [...]}, and the caller comes back with "dead": [run ids]. "ended": runs of the
-- caller's that have ended, and whose outcomes are not here yet.
-- since version 4
create or replace function public.cronguard_start_run(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _request constant jsonb := public.cronguard_checked_run(request);
    _job public.cronguard_jobs;
    _run_id constant uuid := (_request ->> 'run_id')::uuid;
    _ended constant jsonb := lower(_request ->> 'ended')::jsonb;
    _holder uuid;
    _suspects jsonb;
    _status text := 'running';
begin
    _job := public.cronguard_lock_job(_request);
    perform public.cronguard_check_statement(_job, _request);

    if _request ->> 'dead' is null then
        select jsonb_agg(public.cronguard_suspect(r)) into _suspects
        from public.cron_execution_logs r
        where job = _job.job and status = 'running' and run_id <> _run_id
            and process_space = _request ->> 'space'
            and (_ended ? run_id::text) is not true;
        if _suspects is not null then
            return jsonb_build_object('suspects', _suspects);
        end if;
    end if;

    _holder := public.cronguard_sweep_job(_job, _request);
    select * into _job from public.cronguard_jobs where job = _job.job;
    if _job.silence_since is not null then
        _job := public.cronguard_end_silence(_job, (_request ->> 'started_at')::timestamptz);
    end if;

    if _holder is not null and _request ->> 'overlap' = 'skip' then
        _status := 'skipped';
        insert into public.cron_execution_logs
            (run_id, job, status, started_at, finished_at, duration_ms,
                consecutive_failure_count, host, pid)
        values (
            _run_id, _job.job, 'skipped', (_request ->> 'started_at')::timestamptz,
            (_request ->> 'started_at')::timestamptz, 0, _job.consecutive_failure_count,
            _request ->> 'host', (_request ->> 'pid')::bigint
        )
        on conflict (run_id) do nothing;
    elsif not public.cronguard_insert_running(_request) then
        -- Answered before, though that was not heard: what was skipped stays so.
        select case status when 'skipped' then status else 'running' end into _status
        from public.cron_execution_logs where run_id = _run_id;
    end if;
    if _status = 'running' then
        _job := public.cronguard_restate(_job, _request, false);
    end if;
    return jsonb_build_object(
        'status', _status,
        'consecutive_failure_count', _job.consecutive_failure_count,
        'held_by', case when _status = 'skipped' then _holder end,
        'holder', case when _status = 'skipped' then (
            select public.cronguard_run_shown(r) from public.cron_execution_logs r
            where run_id = _holder
        ) end,
        'alerts_due', public.cronguard_has_due(_job.job),
        'state', public.cronguard_job_state(_job),
        'channels', case when _job.channels = _request -> 'channels' then _job.channels
            else public.cronguard_channels(_job.channels) end
    );
end $$;

-- Commit how a run ended, the job's streak and the alerts due: one transaction, one job at a time.
-- "started": the start is known to have been stored, so a missing row was pruned.
-- since version 4
create or replace function public.cronguard_finish_run(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _request constant jsonb := public.cronguard_checked_run(request);
    _job public.cronguard_jobs;
    _run_id constant uuid := (_request ->> 'run_id')::uuid;
    _outcome constant jsonb := public.cronguard_checked_outcome(_request -> 'outcome');
    _is_new boolean := false;
    _states boolean := false; -- its start was never stored
    _existing text;
    _count integer;
begin
    select * into _job from public.cronguard_jobs where job = _request ->> 'job' for update;
    if not found then
        if (_request ->> 'started')::boolean
            and not exists (select 1 from public.cron_execution_logs where run_id = _run_id)
        then
            return '{"consecutive_failure_count": null, "alerts_due": false}'::jsonb;
        end if;
        _job := public.cronguard_lock_job(_request);
        _is_new := true;
    end if;
    perform public.cronguard_check_statement(_job, _request);
    select status, consecutive_failure_count into _existing, _count
        from public.cron_execution_logs where run_id = _run_id;

    if _existing is null and not (_request ->> 'started')::boolean then
        perform public.cronguard_insert_running(_request);
        if _job.silence_since is not null then
            _job := public.cronguard_end_silence(_job, (_request ->> 'started_at')::timestamptz);
        end if;
        _existing := 'running';
        _states := _outcome ->> 'status' <> 'skipped';
    elsif _existing = 'skipped' and _outcome ->> 'status' <> 'skipped'
        and not (_request ->> 'started')::boolean
    then
        _existing := 'running'; -- it never heard that it was to be skipped, and ran
    end if;

    if (_is_new or _states) and _outcome ->> 'status' <> 'skipped' then
        _job := public.cronguard_restate(_job, _request, not _is_new);
    end if;

    if _existing = 'running' then
        _count := public.cronguard_commit(_job, _request, _outcome, false);
    elsif _existing = 'crashed' and _outcome ->> 'status' = 'success' then
        _count := public.cronguard_commit(_job, _request, _outcome, true);
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
    if _request ->> 'notified' is not null then
        -- cronguard.core.alert_rule.mark_notified: an outcome that was committed already.
        if _existing is distinct from 'running'
            and (_existing, _outcome ->> 'status') is distinct from ('crashed', 'success')
        then
            update public.cronguard_jobs j set announced = j.announced || array(
                select value from jsonb_array_elements_text(_request -> 'notified')
                where not value = any (j.announced)
            )
            where j.job = _job.job and j.consecutive_failure_count > 0
                and _run_id in (j.last_counted_run, j.incident_id);
        end if;
        update public.cronguard_alerts set state = 'sent', settled_at = clock_timestamp()
        where job = _job.job and run_id = _run_id and state = 'pending'
            and _request -> 'notified' ? channel;
    end if;
    select * into _job from public.cronguard_jobs where job = _job.job;
    return jsonb_build_object(
        'consecutive_failure_count', _count,
        'alerts_due', public.cronguard_has_due(_job.job),
        'state', public.cronguard_job_state(_job)
    );
end $$;

-- Let the leases of runs that are still going end so many seconds from now. Those that have "ended"
-- are renewed too, and hold no lease any more.
-- since version 3
create or replace function public.cronguard_heartbeat(request jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
    request := public.cronguard_checked_request(
        request, '{"run_ids": ["ids"], "lease": ["lease", 90], "ended": ["ids", []]}'
    );
    with held as materialized ( -- in the order of a sweep
        select run_id from public.cron_execution_logs
        where status = 'running' and run_id in (
            select value::uuid
            from jsonb_array_elements_text((request -> 'run_ids') || (request -> 'ended'))
        )
        order by job, seq
        for update
    )
    update public.cron_execution_logs r set
        holds_lease = r.holds_lease
            and not lower(request ->> 'ended')::jsonb ? r.run_id::text,
        lease_expires_at = clock_timestamp()
            + make_interval(secs => (request ->> 'lease')::double precision)
    from held
    where r.run_id = held.run_id;
end $$;

-- Take the lease from the job's running rows, so that it can start; how many there were.
-- since version 2
create or replace function public.cronguard_unlock(request jsonb) returns integer
language plpgsql set search_path = ''
as $$
declare
    _freed integer;
begin
    request := public.cronguard_checked_request(request, '{"job": ["text"]}');
    perform 1 from public.cronguard_jobs where job = request ->> 'job' for update;
    update public.cron_execution_logs set holds_lease = false
    where job = request ->> 'job' and status = 'running' and holds_lease;
    get diagnostics _freed = row_count;
    return _freed;
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

-- A run that is going on: the same, and who holds it. In Python:
-- cronguard.core.alert_rule.has_expired.
-- since version 4
create or replace function public.cronguard_run_held(run public.cron_execution_logs)
returns jsonb
language sql stable set search_path = ''
as $$
    select public.cronguard_run_shown(run) || jsonb_build_object(
        'space', run.process_space, 'process_started', run.process_started,
        'lease_over', coalesce(run.lease_expires_at <= clock_timestamp()
            or run.lease_expires_at > clock_timestamp() + interval '1 hour', true)
    )
$$;

-- Every job that has run or is registered, by name.
-- since version 4
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
            ),
            'announced', to_jsonb(coalesce(j.announced, '{}')),
            'failing_since', (
                select public.cronguard_rfc3339(r.finished_at) from public.cron_execution_logs r
                where r.run_id = j.incident_id
            ),
            'last_start_at', (
                select public.cronguard_rfc3339(max(r.started_at))
                from public.cron_execution_logs r
                -- cronguard.core.alert_rule.MAX_CLOCK_SETBACK: some clock was ahead.
                where r.job = j.job and r.started_at <= clock_timestamp() + interval '3 hours'
            ),
            'pending_since', (
                select public.cronguard_rfc3339(min(a.created_at))
                from public.cronguard_alerts a where a.job = j.job and a.state = 'pending'
            )
        ) order by j.job collate "C")
        from public.cronguard_jobs j
    ), '[]');
end $$;

-- A job's newest runs, newest first; of some statuses, or since some time.
-- since version 4
create or replace function public.cronguard_history(request jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
    _request constant jsonb := public.cronguard_checked_request(request, '{
        "job": ["text"], "limit": ["limit", 20], "statuses": ["texts", null], "since": ["time", null]
    }');
    _statuses constant jsonb := nullif(_request -> 'statuses', 'null');
    _since constant timestamptz := (_request ->> 'since')::timestamptz;
begin
    return coalesce((
        select jsonb_agg(public.cronguard_run_shown(r) order by r.seq desc)
        from (
            select * from public.cron_execution_logs
            where job = _request ->> 'job'
                and (_statuses is null or _statuses ? status)
                and (_since is null or started_at >= _since)
            order by seq desc
            limit (_request ->> 'limit')::integer
        ) r
    ), '[]');
end $$;

-- Enqueue nothing for the job until then; null ends it. False for an unknown job.
-- since version 2
create or replace function public.cronguard_snooze(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
begin
    request := public.cronguard_checked_request(request, '{"job": ["text"], "until": ["time", null]}');
    update public.cronguard_jobs set snoozed_until = (request ->> 'until')::timestamptz
    where job = request ->> 'job';
    return found;
end $$;

-- What outlives any pruning (each job's newest run and newest success), and about how many rows
-- there are to look at.
-- since version 2
create or replace function public.cronguard_prune_plan(request jsonb) returns jsonb
language plpgsql set search_path = '' set statement_timeout = '60s'
as $$
declare
    _job text;
    _kept jsonb := '[]'::jsonb;
    _found uuid;
begin
    perform public.cronguard_expect(request);
    for _job in select job from public.cronguard_jobs loop
        select run_id into _found from public.cron_execution_logs
            where job = _job order by seq desc limit 1;
        continue when not found; -- declared, and never ran
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
-- since version 3
create or replace function public.cronguard_prune(request jsonb) returns jsonb
language plpgsql set search_path = '' set statement_timeout = '60s'
as $$
declare
    _request constant jsonb := public.cronguard_checked_request(request, '{
        "keep": ["seconds"], "kept": ["ids", []], "after": ["id", null], "limit": ["limit", 2000],
        "dry_run": ["flag", false]
    }');
    _is_dry constant boolean := (_request ->> 'dry_run')::boolean;
    _before constant timestamptz
        := clock_timestamp() - make_interval(secs => (_request ->> 'keep')::double precision);
    _seen uuid[];
    _deleted integer;
begin
    select array_agg(run_id order by run_id) into _seen from (
        select run_id from public.cron_execution_logs
        where run_id > coalesce(
            (_request ->> 'after')::uuid, '00000000-0000-0000-0000-000000000000'
        )
        order by run_id
        limit (_request ->> 'limit')::integer
    ) stretch;
    if _is_dry then
        select count(*) into _deleted from public.cron_execution_logs
        where run_id = any (_seen) and status <> 'running'
            and coalesce(finished_at, started_at) < _before
            and not _request -> 'kept' ? run_id::text;
    else
        delete from public.cron_execution_logs
        where run_id = any (_seen) and status <> 'running'
            and coalesce(finished_at, started_at) < _before
            and not _request -> 'kept' ? run_id::text;
        get diagnostics _deleted = row_count;
    end if;
    if not _is_dry and coalesce(cardinality(_seen), 0) < (_request ->> 'limit')::integer then
        delete from public.cronguard_alerts where state = 'sent' and settled_at < _before;
    end if;
    return jsonb_build_object(
        'deleted', _deleted,
        'seen', coalesce(cardinality(_seen), 0),
        'next', case when cardinality(_seen) = (_request ->> 'limit')::integer
            then _seen[cardinality(_seen)] end
    );
end $$;

-- Secrets in Supabase Vault: only names that begin with cronguard_, only for service_role and the
-- owner. plpgsql looks at vault's objects when it runs, so this loads where Vault is absent.
--
-- What they raise is in checks.sql. Vault itself raises 22000 for what is CG021 and CG023 here, and
-- 22021 or 22023 for a damaged row.

-- The name in a request, if it may be reached and there is a Vault at all.
-- since version 2
create or replace function public.cronguard_secret_name(request jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    if to_regclass('vault.decrypted_secrets') is null then
        raise exception 'Vault is not enabled in this database' using errcode = 'CG004';
    end if;
    if coalesce(request ->> 'name', '') !~ '^cronguard_[A-Za-z0-9_.:-]{1,180}$' then
        raise exception 'only secrets whose names begin with cronguard_ can be reached'
            using errcode = 'CG005';
    end if;
    return request ->> 'name';
end $$;

-- {"value": the secret, null if there is none}. One row by its name: a row under an old root key
-- would break a read of all of them.
-- since version 2
create or replace function public.cronguard_secret_get(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _secret text;
begin
    select decrypted_secret into _secret from vault.decrypted_secrets where name = _name;
    return jsonb_build_object('value', _secret);
exception when data_exception then
    raise exception 'this secret cannot be decrypted' using errcode = 'CG021';
end $$;

-- create_secret writes the plaintext to the heap and the write-ahead log before it encrypts;
-- update_secret does not. So a placeholder is created, and then updated. update_secret decrypts the
-- old value first: one that it cannot decrypt is deleted, and made anew with its description.
-- since version 2
create or replace function public.cronguard_secret_put(key text, about text, value text)
returns void
language plpgsql set search_path = ''
as $$
declare
    _id uuid;
    _about text;
begin
    perform pg_advisory_xact_lock(hashtext('cronguard secret ' || key));
    select id, description into _id, _about from vault.secrets where name = key;
    if found then
        begin
            perform vault.update_secret(_id, value);
            return;
        exception when data_exception then
            delete from vault.secrets where id = _id;
        end;
    end if;
    _id := vault.create_secret('placeholder', key, coalesce(_about, about));
    perform vault.update_secret(_id, value);
exception when data_exception then
    raise exception 'Vault cannot encrypt' using errcode = 'CG023';
end $$;

-- A server may log what it is asked (log_statement, log_min_duration_statement), but not what it
-- answers. So a secret of "length" bytes is not sent: its exclusive or with random bytes is, which
-- are answered here and kept in Vault until then. {"ticket", "pad": hexadecimal}
-- since version 2
create or replace function public.cronguard_secret_pad(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _ticket constant uuid := gen_random_uuid();
    _request constant jsonb
        := public.cronguard_checked_request(request, '{"length": ["length"]}');
    _length constant integer := (_request ->> 'length')::integer;
    _pad text;
begin
    perform public.cronguard_secret_name(request);
    delete from vault.secrets
    where starts_with(name, 'cronguard pad ') and created_at < now() - interval '1 hour';
    select left(string_agg(
        encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), ''
    ), 2 * _length)
    into _pad from generate_series(0, _length / 32);
    perform public.cronguard_secret_put('cronguard pad ' || _ticket, 'on its way', _pad);
    return jsonb_build_object('ticket', _ticket, 'pad', _pad);
end $$;

-- "masked": what cronguard_secret_pad says is sent, hexadecimal.
-- since version 2
create or replace function public.cronguard_secret_set(request jsonb) returns void
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _request constant jsonb
        := public.cronguard_checked_request(request, '{"ticket": ["id"], "masked": ["masked"]}');
    _ticket constant text := 'cronguard pad ' || (_request ->> 'ticket');
    _masked constant bytea := decode(_request ->> 'masked', 'hex');
    _pad bytea;
    _plain bytea;
    _value text;
begin
    begin
        select decode(decrypted_secret, 'hex') into _pad
            from vault.decrypted_secrets where name = _ticket;
    exception when data_exception then
        _pad := null; -- the root key changed since
    end;
    if _pad is null then
        raise exception 'there is no such ticket' using errcode = 'CG022';
    elsif length(_masked) is distinct from length(_pad) then
        perform public.cronguard_refuse('masked', 'of the length announced');
    end if;
    delete from vault.secrets where name = _ticket;
    select coalesce(string_agg(
        set_byte('\x00', 0, get_byte(_masked, place) # get_byte(_pad, place)), '' order by place
    ), '')
    into _plain from generate_series(0, length(_pad) - 1) as place;
    begin
        _value := convert_from(_plain, 'UTF8');
    exception when character_not_in_repertoire then
        perform public.cronguard_refuse('masked', 'a text in UTF-8');
    end;
    perform public.cronguard_secret_put(_name, 'a secret of cronguard''s', _value);
end $$;

-- False if there was none.
-- since version 2
create or replace function public.cronguard_secret_unset(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
begin
    perform pg_advisory_xact_lock(hashtext('cronguard secret ' || _name)); -- as who sets it
    delete from vault.secrets where name = _name;
    return found;
end $$;

-- Names and dates only.
-- since version 2
create or replace function public.cronguard_secrets(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
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

-- The version that is there now. It is part of every migration, however little that changes.
create or replace function public.cronguard_schema_version() returns integer
language sql immutable set search_path = ''
as $$ select 4 $$;

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
