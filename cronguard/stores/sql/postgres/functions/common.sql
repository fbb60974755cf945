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
