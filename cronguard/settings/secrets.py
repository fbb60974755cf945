"""Secrets behind references such as ``env:ONCALL_URL``, read when an alert is sent."""

from __future__ import annotations

from collections.abc import Mapping

from cronguard.core.errors import SecretError
from cronguard.core.interfaces import SecretSource
from cronguard.core.model import SecretRef
from cronguard.settings.types import DEPTH, SCHEMES, parse_reference

_CODES = ("secret_missing", "secret_unreadable")
_OWN_VAULT = "cronguard.settings.secret_sources.vault"


def resolve(ref: SecretRef, sources: Mapping[str, SecretSource]) -> str:
    """Return the secret behind a reference, read afresh each time.

    An environment variable may itself hold a reference (at most `DEPTH` in a row); what a vault
    holds is used as it is.

    Args:
        ref: The reference.
        sources: Scheme → source of its secrets.

    Raises:
        SecretError: With the code ``secret_missing`` or ``secret_unreadable``. Its detail names
            references only.
    """
    chain = [ref]
    while True:
        value = _read_secret(chain[-1], sources)
        following = _next_reference(chain[-1], value, sources)
        if following is None:
            return value
        chain.append(following)
        if len(chain) > DEPTH:
            raise SecretError(
                "secret_unreadable",
                detail=f"{ref} leads from reference to reference: let it hold the secret itself",
            )


def _next_reference(
    ref: SecretRef, value: str, sources: Mapping[str, SecretSource]
) -> SecretRef | None:
    # Somebody who can write to a shared vault must not be able to read our environment.
    if ref.scheme != "env":
        return None
    scheme, colon, name = value.partition(":")
    foreign = colon and scheme.isidentifier() and scheme.islower() and not name.startswith("//")
    known = (scheme,) if foreign and sources.get(scheme) is not None else SCHEMES
    following = parse_reference(value, known)
    if following is None and foreign and scheme in known:
        raise SecretError(
            "secret_unreadable",
            detail=f"{ref} begins with {scheme}: but no name of a secret follows:"
            f" write {scheme}:NAME",
        )
    return following


def _not_set(ref: SecretRef) -> str:
    remedy = f": set the variable {ref.name} where this runs" if ref.scheme == "env" else ""
    return f"{ref} is not set{remedy}"


def _read_secret(ref: SecretRef, sources: Mapping[str, SecretSource]) -> str:
    source = sources.get(ref.scheme)
    if source is None:
        raise SecretError(
            "secret_unreadable", detail=f"{ref}: nothing here reads {ref.scheme} secrets"
        )
    try:
        value: object = source.get(ref.name)
    except SecretError as error:
        # Keep the source's code, but not a third party's detail, which may quote a secret.
        if type(source).__module__ == _OWN_VAULT:
            raise  # it says what to do about the vault
        missing = error.code == "secret_missing"
        raise SecretError(
            error.code if error.code in _CODES else "secret_unreadable",
            permanent=error.permanent,
            retry_after=error.retry_after,
            detail=_not_set(ref) if missing else f"{ref} cannot be read",
        ) from None
    except Exception:  # noqa: BLE001  # third-party code; its text may hold a secret
        raise SecretError("secret_unreadable", detail=f"{ref} cannot be read") from None
    if not isinstance(value, str):
        raise SecretError("secret_unreadable", detail=f"{ref} is no text")
    if not value.strip():
        raise SecretError("secret_missing", detail=f"{ref} is empty")
    return value.strip()
