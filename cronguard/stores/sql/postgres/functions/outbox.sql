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
