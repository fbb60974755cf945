-- One migration at a time, and none where it must not be: nothing has been changed yet.

select pg_advisory_xact_lock(hashtext('cronguard migration'));
select set_config('lock_timeout', '20s', true);

do $$
declare
    _from constant integer := /*from version*/ 0;
    _to constant integer := /*schema version*/ 0;
    _found integer := 0;
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'this database is encoded in %, and cronguard needs UTF8',
            current_setting('server_encoding')
            using errcode = 'CG010',
            hint = 'Use a database made with: encoding ''UTF8'' template template0';
    end if;
    if to_regprocedure('public.cronguard_schema_version()') is not null then
        execute 'select public.cronguard_schema_version()' into _found;
    end if;
    if _found > _to then
        raise exception 'this database has version % of cronguard''s schema, newer than this '
            'migration''s %', _found, _to
            using errcode = 'CG002', hint = 'Upgrade cronguard where this migration was written.';
    end if;
    if _found < _from then
        raise exception 'this migration upgrades version % of cronguard''s schema, and this '
            'database has version %', _from, _found
            using errcode = 'CG011',
            hint = 'Apply the migrations before it first.';
    end if;
end $$;

-- In the order in which the functions come to the tables, so that jobs that run meanwhile wait for
-- this, and never each for the other.
do $$
declare
    _table text;
begin
    foreach _table in array array['cronguard_jobs', 'cron_execution_logs', 'cronguard_alerts'] loop
        if to_regclass('public.' || _table) is not null then
            execute format('lock table public.%I in access exclusive mode', _table);
        end if;
    end loop;
end $$;
