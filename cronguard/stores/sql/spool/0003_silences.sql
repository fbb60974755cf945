-- As in the store: occurrences of a schedule that nobody kept, in a row.
ALTER TABLE cronguard_jobs ADD COLUMN silence_since TEXT; -- null for none
ALTER TABLE cronguard_jobs ADD COLUMN silence_missed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cronguard_jobs ADD COLUMN silence_over INTEGER NOT NULL DEFAULT 0; -- a start ended it
ALTER TABLE cronguard_jobs ADD COLUMN silence_announced TEXT; -- channels, with commas between
