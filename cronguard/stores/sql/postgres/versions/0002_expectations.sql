-- Version 2: what is expected of a job is stated one by one, and kept otherwise. Version 1 kept the
-- rules of a job's last start whole.
alter table public.cronguard_jobs
    add column if not exists threshold integer not null default 2,
    add column if not exists realert_every integer,
    add column if not exists notify_recovery boolean not null default false,
    add column if not exists sources jsonb not null default '{}',
    add column if not exists channels jsonb,
    add column if not exists stated jsonb;
comment on column public.cronguard_jobs.max_runtime is 'In seconds; null for no limit.';
comment on column public.cronguard_jobs.sources is
    'Name -> {"origin", "since"}, for what somebody has stated.';
comment on column public.cronguard_jobs.declared is 'Name -> value, as settings declared it last.';
comment on column public.cronguard_jobs.channels is
    'Of the last start that stated anything; null if there was none.';
comment on column public.cronguard_jobs.stated is 'What that start stated, as it came.';

do $$
begin
    if exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.cronguard_jobs'::regclass and attname = 'rules'
            and not attisdropped
    ) then
        update public.cronguard_jobs set
            channels = (
                select jsonb_agg(jsonb_build_object(
                    'channel', rule -> 'channel',
                    'threshold', rule -> 'threshold',
                    'realert_every', coalesce(nullif(rule -> 'realert_every', 'null'), '0')
                ))
                from jsonb_array_elements(
                    case when jsonb_typeof(rules) = 'array' then rules else '[]' end
                ) as rule
            ),
            notify_recovery = coalesce(rules @> '[{"notify_recovery": true}]', false),
            sources = case when schedule is null or declared is null then '{}'
                else jsonb_build_object('schedule', jsonb_build_object(
                    'origin', 'settings', 'since', registered_at
                )) end,
            timezone = coalesce(timezone, 'UTC'),
            grace = coalesce(grace, 300)
        where true;
        update public.cronguard_jobs set declared = '{}' where true;
        alter table public.cronguard_jobs
            drop column rules,
            alter column timezone set default 'UTC', alter column timezone set not null,
            alter column grace set default 300, alter column grace set not null,
            alter column max_runtime set default 1800,
            alter column declared set default '{}', alter column declared set not null;
    end if;
end $$;
