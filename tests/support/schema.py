"""cronguard's schema in a database: today's, earlier ones, and what the catalog has of it."""

from pathlib import Path

from cronguard.stores.server.schema import migration_sql

RELEASED = {
    int(file.stem.split("_")[1]): file.read_text(encoding="utf-8")
    for file in (Path(__file__).parents[1] / "stores" / "released").glob("version_*.sql")
}
"""Version → the whole migration as it was released, which is in people's repositories."""

CATALOG = """
    select 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
        concat(a.attnotnull, a.attidentity, a.attgenerated), pg_get_expr(d.adbin, d.adrelid)
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
        and a.attnum > 0 and not a.attisdropped
    union all
    select 'table', c.relname, c.relrowsecurity::text, c.reloptions::text,
        obj_description(c.oid, 'pg_class'), c.relkind::text
    from pg_class c where c.relnamespace = 'public'::regnamespace
    union all
    select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
    from pg_constraint where connamespace = 'public'::regnamespace
    union all
    select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', ''
    from pg_trigger where not tgisinternal
    union all
    select 'index', tablename, indexname, indexdef, '', ''
    from pg_indexes where schemaname = 'public'
    union all
    select 'grant', c.relname, g.grantee::regrole::text, g.privilege_type, '', ''
    from pg_class c, aclexplode(c.relacl) g
    where c.relnamespace = 'public'::regnamespace and g.grantee <> 0
    union all
    select 'policy', tablename, policyname, concat(roles, cmd), qual, with_check from pg_policies
    union all
    select 'function', p.oid::regprocedure::text, p.prosrc,
        concat(format_type(p.prorettype, null), p.provolatile, p.prosecdef),
        (select array_agg(g.grantee::regrole::text || g.privilege_type
            order by g.grantee::regrole::text) from aclexplode(p.proacl) g)::text,
        p.proconfig::text
    from pg_proc p where p.pronamespace = 'public'::regnamespace
    order by 1, 2, 3, 4
"""


def apply(database, text=None):
    """Apply a migration as people do, in one transaction; the whole of today's if none is given."""
    with database.connect() as db, db.transaction():
        db.execute(text or migration_sql())


def catalog(database):
    """What is in the schema public, row by row; columns whatever their order."""
    with database.connect() as db:
        return db.execute(CATALOG).fetchall()
