"""The two function calls of a run, made bare: by psycopg, and by the supabase client.

What is asked is what a guarded run of this process asked before, with ids of its own.
"""

import json
import os
import uuid


def postgres(store, job, function):
    """Two statements on one connection that stays open."""
    import psycopg

    from cronguard.stores.server.postgres import PostgresStore

    start, finish = asked_by_a_run(PostgresStore, job)
    connection = psycopg.connect(store, autocommit=True, prepare_threshold=None)

    def call():
        run_id = str(uuid.uuid4())
        for name, request in (start, finish):
            text = json.dumps({**request, "run_id": run_id})
            connection.execute(f"select public.{name}(%s::jsonb)", (text,)).fetchone()
            if name is start[0]:
                function()

    return call


def supabase(_store, job, function):
    """Two requests of the client, made as the store makes it."""
    import httpx
    from supabase import ClientOptions, create_client

    from cronguard.stores.server.supabase import SupabaseStore

    start, finish = asked_by_a_run(SupabaseStore, job)
    options = ClientOptions(httpx_client=httpx.Client(trust_env=False))
    client = create_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SECRET_KEY"], options)

    def call():
        run_id = str(uuid.uuid4())
        client.rpc(start[0], {"request": {**start[1], "run_id": run_id}}).execute()
        function()
        client.rpc(finish[0], {"request": {**finish[1], "run_id": run_id}}).execute()

    return call


def asked_by_a_run(kind, job):
    """(function, request) of a run's start and of its end, as this kind of store makes them."""
    import cronguard

    asked, call = [], kind._call

    def heard(self, function, request):
        asked.append((function, dict(request)))
        return call(self, function, request)

    kind._call = heard
    cronguard.cron_guarded(job=job)(lambda: None)()
    cronguard.configure()  # lets go of the store
    kind._call = call
    assert len(asked) == 2, asked
    return asked
