-- The association's database on SQLite. supabase.sql says the same for PostgreSQL.

create table assignments (
    id integer primary key,
    mentor text not null,               -- personal data: must not get into alerts or logs
    phone text not null,                -- likewise
    assigned_on text not null check (assigned_on is date(assigned_on)),  -- YYYY-MM-DD
    last_contact_date text not null check (last_contact_date is date(last_contact_date))
);
create index assignments_by_contact on assignments (last_contact_date, id);

-- Manual corrections, each with its reason: the audit trail.
create table contact_corrections (
    id integer primary key,
    assignment_id integer not null references assignments (id),
    last_contact_date text not null check (last_contact_date is date(last_contact_date)),
    previous_date text not null,
    reason text not null check (trim(reason) <> '' and length(reason) <= 500),
    corrected_by text not null,
    corrected_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index contact_corrections_by_assignment on contact_corrections (assignment_id);

create table activities (
    id integer primary key,
    assignment_id integer not null references assignments (id),
    contact_date text not null check (contact_date is date(contact_date)),
    registered_by text not null
        check (registered_by in ('direct', 'proxy', 'bulk', 'coordinator_proxy')),
    superseded_by integer references contact_corrections (id)  -- a later correction replaces it
);
create index activities_by_assignment on activities (assignment_id, contact_date);
create index activities_by_correction on activities (superseded_by);

create table reminders (
    assignment_id integer not null references assignments (id),
    due_on text not null,
    state text not null default 'reserved' check (state in ('reserved', 'sent')),
    holder text not null,
    reserved_until real not null,       -- seconds since 1970
    sent_at text,
    primary key (assignment_id, due_on)  -- one reminder each time an assignment falls due
) without rowid;
create index reminders_reserved on reminders (reserved_until) where state = 'reserved';

-- What last_contact_date has to be: the newest of the activities since the latest correction, and
-- that correction's date, or where there is none the day on which the assignment began.
create view expected_dates as
select a.id as assignment_id, max(
    coalesce(
        (
            select c.last_contact_date from contact_corrections c
            where c.assignment_id = a.id order by c.id desc limit 1
        ),
        a.assigned_on
    ),
    coalesce(
        (
            select max(v.contact_date) from activities v
            where v.assignment_id = a.id and v.superseded_by is null
        ),
        ''
    )
) as expected_date
from assignments a;

-- Whatever happens to activities, the date follows in the same transaction.
create trigger activity_added after insert on activities begin
    update assignments set last_contact_date =
        (select expected_date from expected_dates where assignment_id = new.assignment_id)
    where id = new.assignment_id;
end;
create trigger activity_changed after update on activities begin
    update assignments set last_contact_date =
        (select expected_date from expected_dates where assignment_id = assignments.id)
    where id in (old.assignment_id, new.assignment_id);
end;
create trigger activity_removed after delete on activities begin
    update assignments set last_contact_date =
        (select expected_date from expected_dates where assignment_id = old.assignment_id)
    where id = old.assignment_id;
end;
create trigger correction_added after insert on contact_corrections begin
    update activities set superseded_by = new.id
    where assignment_id = new.assignment_id and superseded_by is null;
    update assignments set last_contact_date =
        (select expected_date from expected_dates where assignment_id = new.assignment_id)
    where id = new.assignment_id;
end;

-- There is no other way: any other value is refused.
create trigger date_is_derived before update of last_contact_date on assignments
when new.last_contact_date is not
    (select expected_date from expected_dates where assignment_id = new.id)
begin
    select raise(abort, 'last_contact_date follows from activities: register one, or correct it');
end;
create trigger beginning_is_fixed before update of id, assigned_on on assignments
when new.id is not old.id or new.assigned_on is not old.assigned_on
begin
    select raise(abort, 'an assignment''s id and first day never change');
end;

-- insert or replace would remove the older row without a word to the triggers.
create trigger assignment_is_new before insert on assignments
when new.last_contact_date is not new.assigned_on
    or exists (select 1 from assignments where id = new.id)
begin
    select raise(abort, 'an assignment begins once, and with its first day as its last contact');
end;
create trigger activity_is_new before insert on activities
when new.superseded_by is not null or exists (select 1 from activities where id = new.id)
begin
    select raise(abort, 'an activity is added once');
end;
create trigger activity_keeps_its_id before update of id on activities when new.id is not old.id
begin
    select raise(abort, 'an activity''s id never changes');
end;
create trigger correction_is_new before insert on contact_corrections
when exists (select 1 from contact_corrections where id = new.id)
begin
    select raise(abort, 'a correction is added once');
end;
create trigger correction_stays before update on contact_corrections begin
    select raise(abort, 'a correction is never changed: add another');
end;
create trigger correction_is_kept before delete on contact_corrections begin
    select raise(abort, 'a correction is never deleted: add another');
end;
