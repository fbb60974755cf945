"""Rows that cronguard cannot have written: what a hand makes of them, for the store contract."""

_SQLITE = {
    "cronguard_jobs": "consecutive_failure_count = -5 where job",
    "cron_execution_logs": "lease_expires_at = 'tomorrow' where id",
    "cronguard_alerts": "created_at = 'yesterday' where alert_id",
}
_POSTGRES = {
    "cronguard_jobs": "consecutive_failure_count = -5 where job",
    "cron_execution_logs": "started_at = 'infinity' where run_id",
    "cronguard_alerts": "created_at = 'infinity' where alert_id",
}


def damage_sqlite(store, table, key):
    """Damage a row of a SQLite store, in a file or in memory."""
    store._file.write(lambda db: db.execute(f"update {table} set {_SQLITE[table]} = ?", (key,)))


def damage_postgres(database, table, key):
    """Damage a row of a database, whatever guards it."""
    with database.admin() as db:
        db.execute("set session_replication_role = replica")
        db.execute(f"update {table} set {_POSTGRES[table]} = %s", (key,))
