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
