"""The real stack from packages: PostgreSQL, PostgREST behind a gateway, a transaction pooler.

`install` puts the programs onto the machine, `server` runs what a test session shares, `client` is
what a worker uses of it, `gateway` stands where a Supabase project's API is.
"""

PASSWORD = "postgres-password"
AUTHENTICATOR_PASSWORD = "authenticator-password"
