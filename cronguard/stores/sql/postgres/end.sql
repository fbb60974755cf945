-- The version that is there now. It is part of every migration, however little that changes.
create or replace function public.cronguard_schema_version() returns integer
language sql immutable set search_path = ''
as $$ select /*schema version*/ 0 $$;

drop trigger if exists cronguard_guard on public.cronguard_jobs;
create trigger cronguard_guard before insert or update of
    job, schedule, timezone, grace, max_runtime, threshold, realert_every, notify_recovery, runbook,
    channels, sources, declared, snoozed_until
    on public.cronguard_jobs for each row execute function public.cronguard_guard_job();

-- Who may: the owner, and on Supabase service_role. Nobody else reads, writes or calls anything,
-- whatever the project's default privileges are. On plain PostgreSQL those roles do not exist.

do $$
declare
    _closed_to text := 'public';
    _role text;
    _table text;
    _function regprocedure;
    _sequence text;
    _on_supabase constant boolean
        := exists (select 1 from pg_catalog.pg_roles where rolname = 'service_role');
begin
    foreach _role in array array['anon', 'authenticated'] loop
        if exists (select 1 from pg_catalog.pg_roles where rolname = _role) then
            _closed_to := _closed_to || ', ' || _role;
        end if;
    end loop;

    foreach _table in array array['cron_execution_logs', 'cronguard_jobs', 'cronguard_alerts'] loop
        execute format('alter table public.%I enable row level security', _table);
        execute format('revoke all on table public.%I from %s', _table, _closed_to);
        for _sequence in
            select d.objid::regclass::text from pg_catalog.pg_depend d
            join pg_catalog.pg_class c on c.oid = d.objid and c.relkind = 'S'
            where d.refobjid = ('public.' || _table)::regclass and d.deptype in ('a', 'i')
        loop
            execute format('revoke all on sequence %s from %s', _sequence, _closed_to);
            if _on_supabase then
                execute format('grant usage, select on sequence %s to service_role', _sequence);
            end if;
        end loop;
        if _on_supabase then
            execute format(
                'grant select, insert, update, delete on table public.%I to service_role', _table
            );
            if not exists (
                select 1 from pg_catalog.pg_policies
                where schemaname = 'public' and tablename = _table
                    and policyname = 'cronguard_service'
            ) then
                execute format(
                    'create policy cronguard_service on public.%I to service_role '
                    'using (true) with check (true)', _table
                );
            end if;
        end if;
    end loop;

    for _function in
        select p.oid::regprocedure from pg_catalog.pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname like 'cronguard\_%'
    loop
        execute format('revoke all on function %s from %s', _function, _closed_to);
        if _on_supabase then
            execute format('grant execute on function %s to service_role', _function);
        end if;
    end loop;
end $$;

notify pgrst, 'reload schema';
