"""What somebody wants of cronguard: options of jobs, settings, plugins and secrets by name.

`loading` reads the layers (code, environment, file) and never raises: what is wrong is said, what
is valid is used. `options` are those of a guarded job; `plugins` turns names into classes.
"""

__all__ = [
    "channels",
    "file",
    "loading",
    "options",
    "plugins",
    "secret_sources",
    "secrets",
    "store_url",
    "types",
    "values",
]
