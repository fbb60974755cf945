-- As in the store: occurrences of a job's schedule that nobody kept, in a row.
ALTER TABLE cronguard_jobs ADD COLUMN silence TEXT;
