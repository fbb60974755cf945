"""The migration: numbered SQL files that are applied together, once or many times."""

from __future__ import annotations

import re
from datetime import datetime

from cronguard.core.errors import ConfigError
from cronguard.stores.sql import sql_files

SCHEMA_VERSION = 2
"""What ``public.cronguard_schema_version()`` answers after this migration."""

_LEGACY_JOB = "/*legacy job*/ null"
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


def migration_sql(legacy_job: str | None = None) -> str:
    """The whole migration as SQL text, to be applied in one transaction by the tables' owner.

    It brings any earlier state up to date and may be applied again. ``legacy_job`` names the job
    of rows in an existing ``cron_execution_logs`` that name none; without it, such rows make the
    migration stop (SQLSTATE CG003) before anything is changed. ConfigError if it is no job name.
    """
    text = "\n".join(
        file.read_text(encoding="utf-8").strip() + "\n" for file in sql_files("postgres")
    )
    if legacy_job is not None:
        if not _JOB_NAME.fullmatch(legacy_job):
            raise ConfigError(
                "a legacy job's name is 1 to 100 of A-Z a-z 0-9 . _ : - and begins with a letter"
                " or digit: choose such a name for --legacy-job"
            )
        text = text.replace(_LEGACY_JOB, f"'{legacy_job}'")
    return (
        f"-- cronguard's schema, version {SCHEMA_VERSION}. Made by cronguard init; safe to apply"
        f" again.\n\n{text}"
    )


def migration_file_name(now: datetime) -> str:
    """The name under which the Supabase CLI expects it in ``supabase/migrations``."""
    return f"{now:%Y%m%d%H%M%S}_cronguard.sql"
