-- The association's database on Supabase. sqlite.sql says the same for SQLite.
-- Everything may be run again. Run by postgres, in one transaction.

select pg_advisory_xact_lock(hashtext('assignment reminder migration'));

create table if not exists public.assignments (
    id bigint generated always as identity primary key,
    mentor text not null,               -- personal data: must not get into alerts or logs
    phone text not null,                -- likewise
    assigned_on date not null,
    last_contact_date date not null
);
create index if not exists assignments_by_contact on public.assignments (last_contact_date, id);

-- Manual corrections, each with its reason: the audit trail.
create table if not exists public.contact_corrections (
    id bigint generated always as identity primary key,
    assignment_id bigint not null references public.assignments (id),
    last_contact_date date not null,
    previous_date date not null,
    reason text not null check (trim(reason) <> '' and length(reason) <= 500),
    corrected_by text not null,         -- the subject of the admin's token
    corrected_at timestamptz not null default now()
);
create index if not exists contact_corrections_by_assignment
    on public.contact_corrections (assignment_id);

create table if not exists public.activities (
    id bigint generated always as identity primary key,
    assignment_id bigint not null references public.assignments (id),
    contact_date date not null,
    registered_by text not null
        check (registered_by in ('direct', 'proxy', 'bulk', 'coordinator_proxy')),
    superseded_by bigint references public.contact_corrections (id)  -- a later correction replaces it
);
create index if not exists activities_by_assignment
    on public.activities (assignment_id, contact_date);
create index if not exists activities_by_correction on public.activities (superseded_by);

create table if not exists public.reminders (
    assignment_id bigint not null references public.assignments (id),
    due_on date not null,
    state text not null default 'reserved' check (state in ('reserved', 'sent')),
    holder uuid not null,
    reserved_until timestamptz not null,
    sent_at timestamptz,
    primary key (assignment_id, due_on)  -- one reminder each time an assignment falls due
);
create index if not exists reminders_reserved
    on public.reminders (reserved_until) where state = 'reserved';

-- What last_contact_date has to be: the newest of the activities since the latest correction, and
-- that correction's date, or where there is none the day on which the assignment began.
create or replace view public.expected_dates with (security_invoker = true) as
select a.id as assignment_id, greatest(
    coalesce(
        (
            select c.last_contact_date from public.contact_corrections c
            where c.assignment_id = a.id order by c.id desc limit 1
        ),
        a.assigned_on
    ),
    (
        select max(v.contact_date) from public.activities v
        where v.assignment_id = a.id and v.superseded_by is null
    )
) as expected_date
from public.assignments a;

-- ---- The one way: the date follows from activities, in the same transaction ---------------------
-- Trigger functions are security definer, so that whoever may write an activity moves the date too;
-- nobody can call them. The triggers fire always, in a session that replays a replica as well.

create or replace function public.reminder_follow(followed bigint) returns void
language plpgsql security definer set search_path = ''
as $$
begin
    -- Two activities of one assignment at the same moment: the second sees the first.
    perform from public.assignments where id = followed for no key update;
    update public.assignments set last_contact_date =
        (select expected_date from public.expected_dates where assignment_id = followed)
    where id = followed;
end $$;

create or replace function public.reminder_activity_written() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        perform public.reminder_follow(old.assignment_id);
    end if;
    if tg_op <> 'DELETE' then
        perform public.reminder_follow(new.assignment_id);
    end if;
    return null;
end $$;

create or replace function public.reminder_derived_only() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    if tg_op = 'INSERT' and new.last_contact_date is distinct from new.assigned_on then
        raise exception 'an assignment begins with its first day as its last contact'
            using errcode = '23514';
    elsif tg_op = 'UPDATE' and (new.id, new.assigned_on) is distinct from (old.id, old.assigned_on)
    then
        raise exception 'an assignment''s id and first day never change' using errcode = '23514';
    elsif tg_op = 'UPDATE' and new.last_contact_date is distinct from
        (select expected_date from public.expected_dates where assignment_id = new.id)
    then
        raise exception 'last_contact_date follows from activities: register one, or correct it'
            using errcode = '23514';
    end if;
    return new;
end $$;

create or replace function public.reminder_kept() returns trigger
language plpgsql set search_path = ''
as $$
begin
    raise exception '% is never allowed on %', lower(tg_op), tg_table_name using errcode = '23514';
end $$;

-- Who may correct: a user whose token says so. app_metadata is set by the server alone; what users
-- can change themselves is user_metadata.
create or replace function public.reminder_is_admin() returns boolean
language sql stable set search_path = ''
as $$
    select coalesce(
        claims ->> 'sub' is not null and claims -> 'app_metadata' ->> 'reminder_role' = 'admin',
        false
    )
    from (select nullif(current_setting('request.jwt.claims', true), '')::jsonb as claims) as request
$$;

create or replace function public.reminder_correction_checked() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    _claims constant jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
    if _claims is not null and not public.reminder_is_admin() then
        raise exception 'only an admin corrects' using errcode = '42501';
    elsif new.last_contact_date is null
        or new.last_contact_date > (now() at time zone 'Europe/Oslo')::date
    then
        raise exception 'last_contact_date is missing or in the future' using errcode = 'PT422';
    elsif coalesce(trim(new.reason), '') = '' or length(new.reason) > 500 then
        raise exception 'reason must have 1 to 500 characters' using errcode = 'PT422';
    end if;
    select last_contact_date into new.previous_date
        from public.assignments where id = new.assignment_id for no key update;
    if not found then
        raise exception 'there is no such assignment' using errcode = 'PT404';
    end if;
    new.reason := trim(new.reason);
    new.corrected_by := coalesce(_claims ->> 'sub', session_user);
    new.corrected_at := now();
    return new;
end $$;

create or replace function public.reminder_correction_written() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    update public.activities set superseded_by = new.id
        where assignment_id = new.assignment_id and superseded_by is null;
    perform public.reminder_follow(new.assignment_id);
    return null;
end $$;

create or replace trigger activity_written after insert or update or delete on public.activities
    for each row execute function public.reminder_activity_written();
create or replace trigger activities_kept before truncate on public.activities
    for each statement execute function public.reminder_kept();
create or replace trigger date_is_derived
    before insert or update of id, assigned_on, last_contact_date on public.assignments
    for each row execute function public.reminder_derived_only();
create or replace trigger correction_checked before insert on public.contact_corrections
    for each row execute function public.reminder_correction_checked();
create or replace trigger correction_written after insert on public.contact_corrections
    for each row execute function public.reminder_correction_written();
create or replace trigger correction_stays before update or delete on public.contact_corrections
    for each row execute function public.reminder_kept();
create or replace trigger corrections_kept before truncate on public.contact_corrections
    for each statement execute function public.reminder_kept();

alter table public.activities enable always trigger activity_written;
alter table public.activities enable always trigger activities_kept;
alter table public.assignments enable always trigger date_is_derived;
alter table public.contact_corrections enable always trigger correction_checked;
alter table public.contact_corrections enable always trigger correction_written;
alter table public.contact_corrections enable always trigger correction_stays;
alter table public.contact_corrections enable always trigger corrections_kept;

-- ---- What the job asks ---------------------------------------------------------------------------

-- {"latest", "remind_after"} → how many are neither sent nor reserved.
create or replace function public.reminder_count_due(request jsonb) returns bigint
language plpgsql stable set search_path = '' set statement_timeout = '60s'
as $$
begin
    return (
        select count(*) from public.assignments a
        where a.last_contact_date <= (request ->> 'latest')::date and not exists (
            select from public.reminders r where r.assignment_id = a.id
                and r.due_on = a.last_contact_date + (request ->> 'remind_after')::integer
        )
    );
end $$;

-- {"latest", "remind_after", "holder", "lease", "limit", "after_date", "after_id"} → {"reminders",
-- "last"}. Without hash and merge joins, so that every batch costs the same, however many there are.
create or replace function public.reminder_reserve(request jsonb) returns jsonb
language plpgsql set search_path = '' set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
    _days constant integer := (request ->> 'remind_after')::integer;
    _after_date constant date := coalesce((request ->> 'after_date')::date, '-infinity');
    _after_id constant bigint := coalesce((request ->> 'after_id')::bigint, 0);
    _batch jsonb;
begin
    with candidates as (
        select a.id, a.last_contact_date, a.last_contact_date + _days as due_on, a.mentor, a.phone
        from public.assignments a
        where a.last_contact_date <= (request ->> 'latest')::date
            and (a.last_contact_date, a.id) > (_after_date, _after_id)
            and not exists (
                select from public.reminders r
                where r.assignment_id = a.id and r.due_on = a.last_contact_date + _days
            )
        order by a.last_contact_date, a.id
        limit (request ->> 'limit')::integer
    ), reserved as (
        insert into public.reminders (assignment_id, due_on, holder, reserved_until)
        select id, due_on, (request ->> 'holder')::uuid,
            now() + make_interval(secs => (request ->> 'lease')::double precision)
        from candidates
        on conflict do nothing
        returning assignment_id
    )
    select jsonb_build_object(
        'reminders', coalesce(
            (
                select jsonb_agg(
                    jsonb_build_array(c.id, c.due_on, c.mentor, c.phone)
                    order by c.last_contact_date, c.id
                )
                from candidates c join reserved on reserved.assignment_id = c.id
            ), '[]'
        ),
        'last', (
            select jsonb_build_array(last_contact_date, id) from candidates
            order by last_contact_date desc, id desc limit 1
        )
    ) into _batch;
    return _batch;
end $$;

-- {"remind_after", "holder", "lease", "limit"} → reminders that are the holder's own or expired.
create or replace function public.reminder_take_over(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _holder constant uuid := (request ->> 'holder')::uuid;
    _reminders jsonb;
begin
    delete from public.reminders r
    where r.state = 'reserved' and (r.reserved_until <= now() or r.holder = _holder)
        and not exists (
            select from public.assignments a where a.id = r.assignment_id
                and a.last_contact_date + (request ->> 'remind_after')::integer = r.due_on
        );
    with free as (
        select r.assignment_id, r.due_on from public.reminders r
        where r.state = 'reserved' and (r.reserved_until <= now() or r.holder = _holder)
        order by r.due_on, r.assignment_id
        limit (request ->> 'limit')::integer
        for update skip locked
    ), taken as (
        update public.reminders r set holder = _holder,
            reserved_until = now() + make_interval(secs => (request ->> 'lease')::double precision)
        from free where r.assignment_id = free.assignment_id and r.due_on = free.due_on
        returning r.assignment_id, r.due_on
    )
    select coalesce(
        jsonb_agg(
            jsonb_build_array(a.id, taken.due_on, a.mentor, a.phone) order by taken.due_on, a.id
        ), '[]'
    ) into _reminders
    from taken join public.assignments a on a.id = taken.assignment_id;
    return _reminders;
end $$;

-- → [how many are reserved, seconds until the earliest of them expires]
create or replace function public.reminder_reserved() returns jsonb
language plpgsql set search_path = ''
as $$
begin
    return (
        select jsonb_build_array(
            count(*), greatest(0, extract(epoch from min(reserved_until) - clock_timestamp()))
        )
        from public.reminders where state = 'reserved'
    );
end $$;

-- {"reminders": [[assignment id, due date], …]}
create or replace function public.reminder_mark_sent(request jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
    update public.reminders r set state = 'sent', sent_at = now()
    from jsonb_array_elements(request -> 'reminders') as sent
    where r.assignment_id = (sent ->> 0)::bigint and r.due_on = (sent ->> 1)::date;
end $$;

-- {"holder"}
create or replace function public.reminder_release(request jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
    delete from public.reminders
    where state = 'reserved' and holder = (request ->> 'holder')::uuid;
end $$;

-- {"assignment_ids", "on", "registered_by"}. In order, so that two of them never wait for each other.
create or replace function public.reminder_register(request jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
    insert into public.activities (assignment_id, contact_date, registered_by)
    select id::bigint, (request ->> 'on')::date, request ->> 'registered_by'
    from jsonb_array_elements_text(request -> 'assignment_ids') as id
    order by id::bigint;
end $$;

-- → [[assignment id, its date, the expected date], …]
create or replace function public.reminder_disagreements() returns jsonb
language plpgsql stable set search_path = '' set statement_timeout = '60s'
as $$
begin
    return coalesce((
        select jsonb_agg(jsonb_build_array(a.id, a.last_contact_date, e.expected_date) order by a.id)
        from public.assignments a join public.expected_dates e on e.assignment_id = a.id
        where a.last_contact_date is distinct from e.expected_date
    ), '[]');
end $$;

-- → how many were put right.
create or replace function public.reminder_mend() returns integer
language plpgsql set search_path = '' set statement_timeout = '60s'
as $$
declare
    _mended integer;
begin
    update public.assignments a set last_contact_date = e.expected_date
    from public.expected_dates e
    where e.assignment_id = a.id and a.last_contact_date is distinct from e.expected_date;
    get diagnostics _mended = row_count;
    return _mended;
end $$;

-- ---- What an admin asks --------------------------------------------------------------------------

-- Set one assignment's date by hand. The table's policy and trigger check it, so that writing to the
-- table directly is no way around.
create or replace function public.correct_last_contact(
    assignment_id bigint default null, last_contact_date date default null, reason text default null
) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _added record;
begin
    insert into public.contact_corrections (assignment_id, last_contact_date, reason)
    values ($1, $2, $3)
    returning id, previous_date into _added;
    return jsonb_build_object(
        'id', _added.id, 'assignment_id', $1, 'last_contact_date', $2,
        'previous_date', _added.previous_date
    );
end $$;

-- ---- Who may -------------------------------------------------------------------------------------

do $$
declare
    _table text;
    _function regprocedure;
begin
    foreach _table in array array['assignments', 'contact_corrections', 'activities', 'reminders'] loop
        execute format('alter table public.%I enable row level security', _table);
        execute format(
            'revoke all on table public.%I from public, anon, authenticated, service_role', _table
        );
        execute format('drop policy if exists reminder_service on public.%I', _table);
        execute format(
            'create policy reminder_service on public.%I to service_role '
            'using (true) with check (true)', _table
        );
    end loop;
    for _function in
        select p.oid::regprocedure from pg_catalog.pg_proc p
        where p.pronamespace = 'public'::regnamespace
            and (p.proname like 'reminder\_%' or p.proname = 'correct_last_contact')
    loop
        execute format(
            'revoke all on function %s from public, anon, authenticated, service_role', _function
        );
    end loop;
end $$;
revoke all on table public.expected_dates from public, anon, authenticated, service_role;

grant select, insert, update on table public.assignments to service_role;
grant select, insert, update, delete on table public.activities, public.reminders to service_role;
grant select on table public.contact_corrections, public.expected_dates to service_role;
grant execute on function
    public.reminder_count_due, public.reminder_reserve, public.reminder_take_over,
    public.reminder_reserved, public.reminder_mark_sent, public.reminder_release,
    public.reminder_register, public.reminder_disagreements, public.reminder_mend
    to service_role;

grant insert (assignment_id, last_contact_date, reason), select
    on table public.contact_corrections to authenticated;
grant execute on function public.correct_last_contact, public.reminder_is_admin to authenticated;
drop policy if exists reminder_admin on public.contact_corrections;
create policy reminder_admin on public.contact_corrections to authenticated
    using ((select public.reminder_is_admin())) with check ((select public.reminder_is_admin()));

notify pgrst, 'reload schema';
