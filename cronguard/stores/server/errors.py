"""PostgreSQL's and PostgREST's error codes, as sentences of cronguard's own."""

from __future__ import annotations

from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.install import how_to_upgrade
from cronguard.stores.server.vault import PREFIX, UNDECRYPTABLE, set_command

_NO_SCHEMA = (
    "schema_missing",
    "{where} has no cronguard schema, or an old one: run cronguard init {kind}",
)
_KEY_REFUSED = (
    "key_refused",
    (
        "{where} refuses the key: set SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEY to this"
        " project's service_role or secret key"
    ),
)

INVALID_REQUEST = "invalid_request"
"""`StoreError.code` of a request that the functions refuse: they will never take it as it is."""

_LASTING = {
    "CG001": (
        "schema_older",
        (
            "{where} has an older schema than this cronguard needs: run cronguard init {kind},"
            " which upgrades it in place"
        ),
    ),
    "CG002": (
        "schema_newer",
        (
            "{where} has a newer schema than this cronguard knows: upgrade cronguard here"
            f" ({how_to_upgrade()})"
        ),
    ),
    "CG003": (
        "legacy_job_missing",
        (
            "{where} has a table cron_execution_logs that is not cronguard's: take it over, its"
            " rows as runs of a job, with cronguard init {kind} --legacy-job NAME"
        ),
    ),
    "CG004": (
        "vault_missing",
        (
            "{where} has no Vault: enable the extension supabase_vault, or keep the secret in the"
            " environment"
        ),
    ),
    "CG005": (
        "secret_name",
        f"only Vault secrets whose names begin with {PREFIX} can be reached",
    ),
    "CG010": (
        "wrong_encoding",
        (
            "{where} has another encoding than UTF-8, which cronguard needs: set the store to a"
            " database made with create database … encoding 'UTF8' template template0"
        ),
    ),
    "CG011": (
        "schema_older",
        "{where} has an older schema than the one to upgrade: run cronguard init {kind}",
    ),
    "CG020": (
        INVALID_REQUEST,
        (
            "{where} refuses a request that is not as its functions ask for, and changed nothing:"
            " see that cronguard is of one version on every host, run cronguard init {kind}, and"
            " report it if that does not help"
        ),
    ),
    "CG021": (
        UNDECRYPTABLE,
        (
            "the Vault of {where} cannot decrypt this secret, which was encrypted under another"
            f" root key or is damaged: set it again with {set_command()}"
        ),
    ),
    "CG023": (
        "vault_keyless",
        (
            "the Vault of {where} has no root key, and so cannot encrypt: see that its server has"
            " supabase_vault in shared_preload_libraries and a vault.getkey_script"
        ),
    ),
    # Vault's own word, from functions that do not know of it yet.
    "22000": (
        UNDECRYPTABLE,
        (
            "the Vault of {where} cannot decrypt this secret: run cronguard init {kind}, and then"
            f" {set_command()}"
        ),
    ),
    # A missing function, table or schema: PostgreSQL's word, PostgREST's to 12 and from 13.
    "42883": _NO_SCHEMA,
    "42P01": _NO_SCHEMA,
    "3F000": _NO_SCHEMA,
    "PGRST202": _NO_SCHEMA,
    "PGRST205": _NO_SCHEMA,
    "PGRST106": (
        "schema_hidden",
        "{where} does not expose the schema public: add it to the project's exposed schemas",
    ),
    "42501": (
        "permission_denied",
        (
            "{where} does not let this role use cronguard's functions: connect as the role that ran"
            " cronguard init {kind}, or with a service_role key"
        ),
    ),
    "vault_denied": (
        "vault_denied",
        (
            "the Vault of {where} refuses cronguard's functions: run cronguard init {kind} as the"
            " role that owns Vault (postgres, in a Supabase project), or grant the functions'"
            " owner execute on vault.create_secret and vault.update_secret, and select on"
            " vault.decrypted_secrets"
        ),
    ),
    "28P01": ("password_refused", "{where} refuses the password: check the user and password"),
    "28000": ("login_refused", "{where} refuses the login: check the user, TLS and pg_hba.conf"),
    "3D000": ("no_database", "{where} does not exist: check the database's name"),
    "expired": (
        "key_expired",
        (
            "{where} says that the key has expired: set SUPABASE_SERVICE_ROLE_KEY or"
            " SUPABASE_SECRET_KEY to a new one"
        ),
    ),
    "PGRST301": _KEY_REFUSED,
    "PGRST302": _KEY_REFUSED,
    "PGRST303": _KEY_REFUSED,
    "401": _KEY_REFUSED,
    "403": _KEY_REFUSED,
    "404": ("wrong_address", "{where} is not a Supabase API: check SUPABASE_URL"),
    "402": (
        "over_quota",
        (
            "{where} is restricted, since its organization is over its quota or has not paid: see"
            " its billing page"
        ),
    ),
}

_PASSING = {
    "CG022": ("secret_ticket", "{where} was told of the secret too late: set it again"),
    "57014": ("57014", "{where} cancelled the call: its statement_timeout was over"),
    "57P01": ("shutting_down", "{where} is shutting down"),
    "57P02": ("shutting_down", "{where} is shutting down"),
    "57P03": ("starting_up", "{where} is starting up"),
    "53300": ("too_many_connections", "{where} has no connection left"),
    "53100": ("disk_full", "{where} has a full disk"),
    "25006": ("read_only", "{where} is read-only now: a replica, or a project over its quota"),
    "40001": ("busy", "{where} had too many writers at once"),
    "40P01": ("busy", "{where} had too many writers at once"),
    "55P03": ("busy", "{where} had too many writers at once"),
    "PGRST000": ("database_down", "{where} cannot reach its database"),
    "PGRST001": ("database_down", "{where} cannot reach its database"),
    "PGRST002": ("database_down", "{where} cannot reach its database"),
    "PGRST003": ("busy", "{where} has no database connection left"),
    "timeout": ("timeout", "{where} did not answer in time"),
    "refused": ("connection_refused", "{where} refuses connections: is it running there?"),
    "dns": ("unknown_host", "{where} cannot be found: check the host name and the network"),
    "tls": ("tls", "{where} could not be reached over TLS: check its certificate"),
    "closed": ("connection_closed", "{where} closed the connection"),
    "429": ("too_many_requests", "{where} takes no more requests for now: there were too many"),
    "empty": (
        "empty_answer",
        (
            "{where} answered with nothing, which Supabase never does: look at what stands between,"
            " such as a proxy"
        ),
    ),
    "gateway": (
        "gateway",
        "{where} has nothing behind its gateway: is the project paused or restarting?",
    ),
    "unreachable": ("unreachable", "{where} cannot be reached: check the address and the network"),
}


def store_error(code: str, *, where: str, kind: str) -> StoreError:
    """Return the error for an SQLSTATE, a PostgREST code, an HTTP status or a word of `_PASSING`.

    ``where`` names the database without credentials; ``kind`` is what ``cronguard init`` is told.
    """
    if code in _LASTING:
        word, sentence = _LASTING[code]
        return StoreConfigError(sentence.format(where=where, kind=kind), code=word)
    if code in _PASSING:
        word, sentence = _PASSING[code]
        return StoreError(sentence.format(where=where, kind=kind), code=word)
    if code.startswith("22"):  # SQLSTATE's class of data that cannot be
        return StoreError(
            f"{where} refuses a value that it was sent ({code}), and changed nothing: run cronguard"
            f" init {kind}, and report it if that does not help",
            code=code,
        )
    return StoreError(f"{where} did not do what it was asked ({code})", code=code)
