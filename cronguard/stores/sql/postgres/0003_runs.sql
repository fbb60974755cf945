-- What a run writes. Every function takes one JSON object, so that a newer or older client can say
-- more or less. The rule of streak and alerts is cronguard/policy.py; one test runs on both.

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

-- Always UTC and always microseconds, as cronguard.times.rfc3339 writes it.
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

-- Write an outcome, the job's new state and the alerts owed: cronguard.policy.decide, in SQL.
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
        -- cronguard.policy.heard: an outcome that was committed already, and told without us.
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
