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
