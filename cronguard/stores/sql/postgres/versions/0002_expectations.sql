-- Version 2: what is expected of a job is stated one by one, and kept otherwise. Version 1 kept the
-- rules of a job's last start whole.
alter table public.cronguard_jobs
    add column if not exists threshold integer not null default 2,
    add column if not exists realert_every integer,
    add column if not exists notify_recovery boolean not null default false,
    add column if not exists sources jsonb not null default '{}',
    add column if not exists channels jsonb,
    add column if not exists channels_stated boolean not null default false,
    add column if not exists stated jsonb;
comment on column public.cronguard_jobs.max_runtime is 'In seconds; null for no limit.';
comment on column public.cronguard_jobs.sources is
    'Name -> {"origin", "since"}, for what somebody has stated.';
comment on column public.cronguard_jobs.declared is
    'Of each host, {"host", "values"}: name -> value, as its settings declared it last.';
comment on column public.cronguard_jobs.channels is
    'Who is notified of crashes and overruns; null for nobody yet.';
comment on column public.cronguard_jobs.channels_stated is
    'Whether they came with a statement; a start that states nothing then leaves them alone.';
comment on column public.cronguard_jobs.stated is 'What the last start stated, as it came.';

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
            max_runtime = case when rules is null then 1800 else max_runtime end,
            sources = case when schedule is null then '{}'
                else jsonb_build_object('schedule', jsonb_build_object(
                    'origin', case when declared ->> 'cron' = schedule then 'settings'
                        else 'code' end,
                    'since', registered_at
                )) end,
            timezone = coalesce(timezone, 'UTC'),
            grace = coalesce(grace, 300)
        where true;
        update public.cronguard_jobs set declared = case when declared ->> 'cron' is null then '[]'
            else jsonb_build_array(jsonb_build_object('host', '', 'values', jsonb_build_object(
                'schedule', declared -> 'cron', 'timezone', declared -> 'timezone',
                'grace', declared -> 'grace'
            ))) end
        where true;
        alter table public.cronguard_jobs
            drop column rules,
            alter column timezone set default 'UTC', alter column timezone set not null,
            alter column grace set default 300, alter column grace set not null,
            alter column max_runtime set default 1800,
            alter column declared set default '[]', alter column declared set not null;
    end if;
end $$;
