"""Secrets behind references, such as ``env:ONCALL_URL``: read when an alert is sent."""

from __future__ import annotations

from collections.abc import Mapping

from cronguard.core.errors import SecretError
from cronguard.core.interfaces import SecretSource
from cronguard.core.model import SecretRef
from cronguard.settings.types import DEPTH, SCHEMES, parse_reference

_CODES = ("secret_missing", "secret_unreadable")
_OWN_VAULT = "cronguard.settings.secret_sources.vault"


def resolve(ref: SecretRef, sources: Mapping[str, SecretSource]) -> str:
    """The secret behind a reference; read afresh each time.

    ``sources`` maps a scheme to where its secrets are read. An environment variable may hold a
    reference in its turn (`DEPTH` in a row at most); what a vault holds is taken as it is. Raises
    `SecretError` with the code ``secret_missing`` or ``secret_unreadable``, naming references only.
    """
    chain = [ref]
    while True:
        value = _read(chain[-1], sources)
        following = _following(chain[-1], value, sources)
        if following is None:
            return value
        chain.append(following)
        if len(chain) > DEPTH:
            raise SecretError(
                "secret_unreadable",
                detail=f"{ref} leads from reference to reference: let it hold the secret itself",
            )


def _following(ref: SecretRef, value: str, sources: Mapping[str, SecretSource]) -> SecretRef | None:
    # Whoever can write to a shared vault must not be able to read this process's environment.
    if ref.scheme != "env":
        return None
    scheme, colon, name = value.partition(":")
    foreign = colon and scheme.isidentifier() and scheme.islower() and not name.startswith("//")
    if foreign and scheme not in SCHEMES and sources.get(scheme) is not None:
        return parse_reference(value, (scheme,))
    return parse_reference(value)


def _read(ref: SecretRef, sources: Mapping[str, SecretSource]) -> str:
    source = sources.get(ref.scheme)
    if source is None:
        raise SecretError(
            "secret_unreadable", detail=f"{ref}: nothing here reads {ref.scheme} secrets"
        )
    try:
        value: object = source.get(ref.name)
    except SecretError as error:
        # The code is the source's own; the detail of somebody else's may quote anything.
        if type(source).__module__ == _OWN_VAULT:
            raise  # it says what to do about the vault
        missing = error.code == "secret_missing"
        raise SecretError(
            error.code if error.code in _CODES else "secret_unreadable",
            permanent=error.permanent,
            retry_after=error.retry_after,
            detail=f"{ref} is not set" if missing else f"{ref} cannot be read",
        ) from None
    except Exception:  # noqa: BLE001  # a source of somebody else's; its text may hold a secret
        raise SecretError("secret_unreadable", detail=f"{ref} cannot be read") from None
    if not isinstance(value, str):
        raise SecretError("secret_unreadable", detail=f"{ref} is no text")
    if not value.strip():
        raise SecretError("secret_missing", detail=f"{ref} is empty")
    return value.strip()
