-- A cron_execution_logs of somebody else's is left alone: existing_log.sql takes one over, on request.

do $$
begin
    if to_regclass('public.cron_execution_logs') is not null and 2 > (
        select count(*) from pg_catalog.pg_attribute
        where attrelid = to_regclass('public.cron_execution_logs') and not attisdropped
            and attname in ('run_id', 'process_space')
    ) then
        raise exception 'this database has a table cron_execution_logs that is not cronguard''s'
            using errcode = 'CG003',
            hint = 'Take it over, its rows as runs of a job: '
                'cronguard init supabase --legacy-job NAME';
    end if;
end $$;
