-- What the functions below have in common. Each that a client calls takes one JSON object, so that a
-- newer or older client can say more or less.

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
