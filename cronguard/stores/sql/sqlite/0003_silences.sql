-- Occurrences of a job's schedule that nobody kept, in a row: the first, how many, whether a start
-- has ended it (1 or 0), and the channels notified of it, with bars between; null for none.
ALTER TABLE cronguard_jobs ADD COLUMN silence TEXT;
