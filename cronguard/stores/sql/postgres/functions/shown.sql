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
-- since version 5
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
                -- cronguard.core.alert_rule.EARLY_SECONDS: a clock that is ahead says nothing yet.
                where r.job = j.job and r.started_at <= clock_timestamp() + interval '10 seconds'
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
