-- Version 4: a silence is a line of missed occurrences, named by its first, and told of once.
alter table public.cronguard_jobs
    add column if not exists silence_since timestamptz,
    add column if not exists silence_missed integer not null default 0,
    add column if not exists silence_over boolean not null default false,
    add column if not exists silence_announced text[] not null default '{}';
comment on column public.cronguard_jobs.silence_since is
    'The first occurrence of the last silence; null for none, or none since a success.';
comment on column public.cronguard_jobs.silence_over is 'Whether a start has ended it.';
comment on column public.cronguard_jobs.silence_announced is
    'Channels notified of it, or of one before it, and of no success since.';
comment on column public.cronguard_jobs.seen_until is 'Written by clients of version 3 and earlier.';
