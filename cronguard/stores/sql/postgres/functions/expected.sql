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
