"""``env:NAME``: secrets in the process's environment."""

from __future__ import annotations

import os

from cronguard.core.errors import SecretError


class EnvironmentSecrets:
    """A `cronguard.core.interfaces.SecretSource` that reads environment variables."""

    def get(self, name: str) -> str:
        """Return the variable's value, read afresh.

        Raises:
            SecretError: The variable is unset, empty or blank.
        """
        value = os.environ.get(name, "").strip()
        if not value:
            raise SecretError("secret_missing", detail=f"set the environment variable {name}")
        return value
