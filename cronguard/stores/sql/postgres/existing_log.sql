-- A cron_execution_logs from before cronguard: its rows are kept, get a job and words for their
-- status that cronguard knows, and the streak goes on from the newest. On a table of cronguard's own
-- there is nothing to do.

-- A log that was here before cronguard has an id of its own; run_id is added beside it.
alter table public.cron_execution_logs
    add column if not exists run_id uuid not null default gen_random_uuid(),
    add column if not exists job text,
    add column if not exists status text,
    add column if not exists started_at timestamptz,
    add column if not exists finished_at timestamptz,
    add column if not exists duration_ms double precision,
    add column if not exists consecutive_failure_count integer,
    add column if not exists error_type text,
    add column if not exists error_code text,
    add column if not exists error_message text,
    add column if not exists error_location text,
    add column if not exists host text,
    add column if not exists pid bigint,
    add column if not exists process_space text,
    add column if not exists process_started text,
    add column if not exists holds_lease boolean not null default false,
    add column if not exists lease_expires_at timestamptz;

-- Checks on the status that do not know cronguard's words.
do $$
declare
    _constraint name;
begin
    for _constraint in
        select distinct c.conname from pg_catalog.pg_constraint c
        join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = any (c.conkey)
        where c.conrelid = 'public.cron_execution_logs'::regclass
            and c.contype = 'c' and a.attname = 'status'
            and c.conname <> 'cron_execution_logs_known_status'
    loop
        execute format('alter table public.cron_execution_logs drop constraint %I', _constraint);
    end loop;
end $$;

-- Columns that were there with another type; times without a zone are taken as UTC.
do $$
declare
    _column record;
begin
    for _column in
        select a.attname, w.wanted, format_type(a.atttypid, a.atttypmod) as actual,
            pg_get_expr(d.adbin, d.adrelid) as usual
        from pg_catalog.pg_attribute a
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        join (values
            ('job', 'text'), ('status', 'text'),
            ('started_at', 'timestamp with time zone'),
            ('finished_at', 'timestamp with time zone'),
            ('duration_ms', 'double precision'), ('consecutive_failure_count', 'integer'),
            ('error_type', 'text'), ('error_code', 'text'), ('error_message', 'text'),
            ('error_location', 'text'), ('host', 'text'), ('pid', 'bigint')
        ) as w (attname, wanted) on w.attname = a.attname
        where a.attrelid = 'public.cron_execution_logs'::regclass
            and not a.attisdropped and format_type(a.atttypid, a.atttypmod) <> w.wanted
    loop
        execute format(
            'alter table public.cron_execution_logs alter column %I drop default', _column.attname
        );
        execute format(
            'alter table public.cron_execution_logs alter column %1$I type %2$s using '
            || case when _column.actual like 'timestamp%without%'
                then '%1$I at time zone ''UTC''' else '%1$I::text::%2$s' end,
            _column.attname, _column.wanted
        );
        if _column.usual is not null then
            execute format(
                'alter table public.cron_execution_logs alter column %I set default %s',
                _column.attname, _column.usual
            );
        end if;
    end loop;
end $$;

-- What cronguard does not fill in must not be asked for; a run that goes on has no count.
do $$
declare
    _column name;
begin
    for _column in
        select a.attname from pg_catalog.pg_attribute a
        where a.attrelid = 'public.cron_execution_logs'::regclass
            and a.attnum > 0 and not a.attisdropped and a.attnotnull and not a.atthasdef
            and a.attidentity = ''
            and a.attname not in ('run_id', 'job', 'status', 'started_at', 'holds_lease', 'seq')
            and not exists (
                select 1 from pg_catalog.pg_index i
                where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any (i.indkey)
            )
    loop
        execute format(
            'alter table public.cron_execution_logs alter column %I drop not null', _column
        );
    end loop;
    alter table public.cron_execution_logs
        alter column consecutive_failure_count drop not null,
        alter column consecutive_failure_count drop default;
end $$;

-- An id that the program before made itself.
do $$
declare
    _type text;
begin
    select format_type(atttypid, null) into _type from pg_catalog.pg_attribute
    where attrelid = 'public.cron_execution_logs'::regclass
        and attname = 'id' and not attisdropped and not atthasdef and attidentity = '';
    if _type in ('bigint', 'integer') then
        alter table public.cron_execution_logs
            alter column id add generated by default as identity;
        perform setval(
            pg_get_serial_sequence('public.cron_execution_logs', 'id'),
            (select coalesce(max(id::text::bigint), 0) + 1 from public.cron_execution_logs), false
        );
    elsif _type is not null then
        execute format(
            'alter table public.cron_execution_logs alter column id '
            'set default gen_random_uuid()::%s', _type
        );
    end if;
end $$;

-- The order of starting.
do $$
begin
    if not exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.cron_execution_logs'::regclass and attname = 'seq'
            and not attisdropped
    ) then
        alter table public.cron_execution_logs add column seq bigint;
        update public.cron_execution_logs l set seq = n.place
        from (
            select run_id, row_number() over (order by started_at nulls first) as place
            from public.cron_execution_logs
        ) n
        where l.run_id = n.run_id;
        alter table public.cron_execution_logs alter column seq set not null;
        alter table public.cron_execution_logs alter column seq add generated always as identity;
        perform setval(
            pg_get_serial_sequence('public.cron_execution_logs', 'seq'),
            (select coalesce(max(seq), 0) + 1 from public.cron_execution_logs), false
        );
    end if;
end $$;

-- Rows that name no job: they get one, and the job's streak goes on from its newest row.
do $$
declare
    _job constant text := /*legacy job*/ null;
    _latest record;
    _incident uuid;
begin
    if _job is null
        or not exists (select 1 from public.cron_execution_logs where job is null)
    then
        return;
    end if;
    update public.cron_execution_logs set
        job = _job,
        started_at = coalesce(started_at, finished_at, now()),
        status = case
            when lower(status) in ('success', 'succeeded', 'successful', 'ok', 'completed',
                'complete', 'done') then 'success'
            when lower(status) in ('failure', 'failed', 'fail', 'error', 'errored', 'timeout')
                then 'failure'
            when status is null and consecutive_failure_count = 0 then 'success'
            when status is null and consecutive_failure_count > 0 then 'failure'
            else 'cancelled' -- a run that had not ended says nothing about the streak
        end
    where job is null;

    select run_id, coalesce(consecutive_failure_count, 0) as streak into _latest
    from public.cron_execution_logs
    where job = _job and status in ('success', 'failure')
    order by seq desc limit 1;
    if _latest.streak > 0 then
        select run_id into _incident from public.cron_execution_logs
        where job = _job and status = 'failure' and seq > coalesce((
            select max(seq) from public.cron_execution_logs
            where job = _job and status = 'success'
        ), 0)
        order by seq limit 1;
    end if;
    insert into public.cronguard_jobs
        (job, consecutive_failure_count, incident_id, last_success_at, last_counted_run)
    values (
        _job, coalesce(_latest.streak, 0), _incident,
        (select max(coalesce(finished_at, started_at)) from public.cron_execution_logs
            where job = _job and status = 'success'),
        _latest.run_id
    )
    on conflict (job) do nothing;
end $$;

-- What holds for every row from now on, once the old ones keep to it.
do $$
begin
    alter table public.cron_execution_logs
        alter column job set not null,
        alter column status set not null,
        alter column started_at set not null;
    if not exists (
        select 1 from pg_catalog.pg_constraint
        where conrelid = 'public.cron_execution_logs'::regclass
            and conname = 'cron_execution_logs_known_status'
    ) then
        alter table public.cron_execution_logs add constraint cron_execution_logs_known_status
            check (status in
                ('running', 'success', 'failure', 'crashed', 'cancelled', 'skipped'));
    end if;
    if not exists (
        select 1 from pg_catalog.pg_index i
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = 'public.cron_execution_logs'::regclass
            and i.indisunique and i.indnatts = 1 and a.attname = 'run_id'
    ) then
        execute 'alter table public.cron_execution_logs add constraint cron_execution_logs_run '
            || case when exists (
                select 1 from pg_catalog.pg_index
                where indrelid = 'public.cron_execution_logs'::regclass and indisprimary
            ) then 'unique' else 'primary key' end || ' (run_id)';
    end if;
end $$;
