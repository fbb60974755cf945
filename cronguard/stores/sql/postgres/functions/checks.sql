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
--   finish_run            as start_run, and "outcome" (see outcomes.sql); started, notified.
--                         {"consecutive_failure_count", "alerts_due", "state"}
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
-- The functions below, and of an outcome one in outcomes.sql, say of each field what it may hold and
-- what it is if it is left out. All other functions are parts of these, and not for clients. What a
-- refused request raises, having changed nothing:
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
-- 54001), a role that may not (42501) and a call that takes too long (57014). Over a project's API
-- PostgREST refuses what is not one POST of {"request": {...}} in JSON, with codes of its own: PGRST101
-- to 122 for how it is sent, PGRST202 (or 42883) for what is sent besides.

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

-- Hold what is written into a job's row to the rules of a request, whoever writes it: a person, an ORM.
-- Only what changes is looked at, so that a row which is bad already hinders nobody; this is why it
-- is no check constraint. What each run writes is not looked at: functions alone write it.
-- since version 5
create or replace function public.cronguard_guard_job() returns trigger
language plpgsql set search_path = ''
as $$
declare
    _before constant jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) else '{}' end;
    _changed jsonb;
begin
    select coalesce(jsonb_object_agg(key, value), '{}') into _changed
    from jsonb_each(to_jsonb(new)) where value is distinct from _before -> key;
    perform public.cronguard_check_stated((
        select coalesce(jsonb_object_agg(key, jsonb_build_object('value', value, 'origin', 'code')), '{}')
        from jsonb_each(_changed)
    ));
    if _changed ? 'job' then
        perform public.cronguard_checked(_changed, '{"job": ["job"]}');
    end if;
    if jsonb_typeof(_changed -> 'channels') not in ('array', 'null') then
        perform public.cronguard_refuse('channels', 'a list, or null');
    elsif jsonb_typeof(_changed -> 'channels') = 'array' then
        perform public.cronguard_checked(_changed -> 'channels', '{
            "channel": ["channel"], "threshold": ["count", null], "realert_every": ["repeat", null]
        }', 'channels');
    end if;
    if jsonb_typeof(_changed -> 'sources') <> 'object' then
        perform public.cronguard_refuse('sources', 'an object');
    elsif jsonb_typeof(_changed -> 'declared') <> 'array' then
        perform public.cronguard_refuse('declared', 'a list');
    elsif _changed ->> 'snoozed_until' in ('infinity', '-infinity') then
        perform public.cronguard_refuse('snoozed_until', 'a time that comes, or null');
    end if;
    return new;
end $$;
