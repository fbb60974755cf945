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
