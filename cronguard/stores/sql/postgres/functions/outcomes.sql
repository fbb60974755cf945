-- How a run ended: what a client says of it, the streak, and the alerts that are due. The rule is
-- cronguard/core/alert_rule.py; one test runs on both.

-- since version 2
create or replace function public.cronguard_is_usual_outcome(outcome jsonb) returns boolean
language plpgsql immutable set search_path = ''
as $$
begin
    return coalesce(
        jsonb_typeof(outcome) = 'object'
        and outcome ->> 'status' in ('success', 'failure')
        and outcome ->> 'finished_at' ~ (
            '^[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|'
            || '02-(0[1-9]|1[0-9]|2[0-8]))T([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{6}Z$')
        and jsonb_typeof(outcome -> 'duration') = 'number'
        and outcome ->> 'duration' ~ '^[0-9]{1,9}(\.[0-9]{1,6})?$'
        and not outcome ?| '{error_type,error_code,error_message,error_location}',
        false
    );
end $$;

-- How a run ended.
-- since version 2
create or replace function public.cronguard_checked_outcome(outcome jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
    if public.cronguard_is_usual_outcome(outcome) then
        return outcome;
    elsif jsonb_typeof(outcome) is distinct from 'object' then
        perform public.cronguard_refuse('outcome', 'an object');
    end if;
    return public.cronguard_checked(outcome, '{
        "status": ["end"], "finished_at": ["time"], "duration": ["elapsed", null],
        "error_type": ["word", null], "error_code": ["word", null],
        "error_message": ["text", null], "error_location": ["text", null]
    }', 'outcome');
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
-- since version 4
create or replace function public.cronguard_job_state(job public.cronguard_jobs) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
    _rfc3339 constant text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
    _state jsonb;
begin
    _state := jsonb_build_object(
        'consecutive_failure_count', coalesce(job.consecutive_failure_count, 0),
        'incident_id', job.incident_id,
        'announced', coalesce(job.announced, '{}'),
        'last_success_at', to_char(job.last_success_at at time zone 'UTC', _rfc3339),
        'last_counted_run', job.last_counted_run,
        'snoozed_until', to_char(job.snoozed_until at time zone 'UTC', _rfc3339),
        'expected', public.cronguard_expected(job)
    );
    if job.silence_since is not null then
        _state := _state || jsonb_build_object('silence', public.cronguard_silence(job));
    end if;
    return _state;
end $$;

-- Write an outcome, the job's new state and the alerts that are due:
-- cronguard.core.alert_rule.decide, in SQL. The job's row must be locked. "late": the success of a
-- run that had been counted as crashed.
-- since version 5
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
    _rules jsonb := '[]'::jsonb;
    _run constant jsonb := run || jsonb_build_object('runbook', before.runbook);
    _after public.cronguard_jobs := before;
    _count integer;
    _over bigint;
    _notified boolean;
    _ends boolean := false; -- what was announced of the incident
    _ends_silence boolean := false;
    _rule jsonb;
    _facts jsonb;
begin
    -- What only a row that was written by hand lacks.
    before.announced := coalesce(before.announced, '{}');
    before.consecutive_failure_count := coalesce(before.consecutive_failure_count, 0);
    -- Most runs go well, and there is nobody to notify.
    if _status not in ('success', 'cancelled', 'skipped') or cardinality(before.announced) > 0
        or before.silence_since is not null or (run ->> 'test_mode')::boolean
    then
        _rules := public.cronguard_rules(
            before, coalesce(nullif(run -> 'channels', '[]'), before.channels, '[]')
        );
    end if;
    if _status in ('cancelled', 'skipped') then
        _count := before.consecutive_failure_count;
    elsif _status = 'success' then
        _count := 0;
        _ends := not late or before.last_counted_run is not distinct from _run_id;
        if not _ends then
            _after.last_success_at := greatest(before.last_success_at, _finished);
        else
            _after.last_success_at := _finished;
            _after.consecutive_failure_count := 0;
            _after.incident_id := null;
            _after.announced := '{}';
            _after.last_counted_run := _run_id;
            -- cronguard.core.alert_rule.ends_silence: one from before it ended another one.
            _ends_silence := before.silence_over
                and _finished >= before.silence_since - interval '10 seconds';
            if _ends_silence then
                _after.silence_since := null;
                _after.silence_missed := 0;
                _after.silence_over := false;
                _after.silence_announced := '{}';
            end if;
        end if;
    else
        _count := before.consecutive_failure_count + 1;
        _after.consecutive_failure_count := _count;
        _after.incident_id := coalesce(before.incident_id, _run_id);
        _after.last_counted_run := _run_id;
        -- Channels that this host has notified of the outcome already.
        select before.announced || coalesce(array_agg(each.value ->> 'channel'), '{}')
            into _after.announced
            from jsonb_array_elements(_rules) as each
            where run -> 'notified' ? (each.value ->> 'channel')
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
    for _rule in select * from jsonb_array_elements(_rules) loop
        continue when _snoozed or _status in ('cancelled', 'skipped')
            or run -> 'notified' ? (_rule ->> 'channel');
        _facts := jsonb_set(_facts, '{threshold}', _rule -> 'threshold');
        _notified := (_rule ->> 'channel') = any (_after.announced);
        if _status = 'success' then
            continue when not _ends or not (_rule ->> 'notify_recovery')::boolean;
            if (_rule ->> 'channel') = any (before.announced) then
                perform public.cronguard_enqueue(
                    format('%s/%s/recovered/%s', before.job,
                        coalesce(before.incident_id, _run_id), _rule ->> 'channel'),
                    'recovered', _rule ->> 'channel', _run, _facts
                );
            elsif _ends_silence and (_rule ->> 'channel') = any (before.silence_announced)
            then
                perform public.cronguard_enqueue(
                    format('%s/silence/%s/%s/recovered', before.job,
                        public.cronguard_rfc3339(before.silence_since), _rule ->> 'channel'),
                    'recovered', _rule ->> 'channel', _run, _facts
                );
            end if;
            continue;
        end if;
        _over := _count::bigint - (_rule ->> 'threshold')::integer;
        if _over >= 0 and not _notified then
            perform public.cronguard_enqueue(
                format('%s/%s/failing/%s', before.job, _after.incident_id, _rule ->> 'channel'),
                'failing', _rule ->> 'channel', _run, _facts
            );
            _after.announced := _after.announced || (_rule ->> 'channel');
        elsif _over > 0 and _over % nullif((_rule ->> 'realert_every')::integer, 0) = 0 then
            perform public.cronguard_enqueue(
                format('%s/%s/%s/%s', before.job, _after.incident_id, _count, _rule ->> 'channel'),
                'still_failing', _rule ->> 'channel', _run, _facts
            );
        end if;
    end loop;
    if (run ->> 'test_mode')::boolean and not _snoozed and _status <> 'skipped' then
        for _rule in select * from jsonb_array_elements(_rules) loop
            continue when run -> 'notified' ? (_rule ->> 'channel');
            perform public.cronguard_enqueue(
                format('%s/%s/test/%s', before.job, run ->> 'run_id', _rule ->> 'channel'),
                'test', _rule ->> 'channel', _run,
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
            last_counted_run = _after.last_counted_run,
            silence_since = _after.silence_since,
            silence_missed = _after.silence_missed,
            silence_over = _after.silence_over,
            silence_announced = _after.silence_announced
        where job = before.job;
    end if;
    return _count;
end $$;

-- Count the job's dead runs; the run that still holds the job, null if none does. The job's row must
-- be locked. "dead" in the request are those of the caller's own process space; those that have
-- "ended" are renewed, and give up the lease.
-- since version 3
create or replace function public.cronguard_sweep_job(held public.cronguard_jobs, request jsonb)
returns uuid
language plpgsql set search_path = ''
as $$
declare
    _job public.cronguard_jobs := held;
    _run_id constant uuid := (request ->> 'run_id')::uuid;
    _ended constant jsonb := lower(request ->> 'ended')::jsonb;
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
        if _ended ? _row.run_id::text then
            update public.cron_execution_logs set
                holds_lease = false,
                lease_expires_at
                    = _now + make_interval(secs => (request ->> 'lease')::double precision)
            where run_id = _row.run_id;
            continue;
        end if;
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
                jsonb_build_object(
                    'job', _job.job, 'run_id', _row.run_id, 'host', _row.host, 'test_mode', false,
                    'channels', coalesce(_job.channels, request -> 'channels'),
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
