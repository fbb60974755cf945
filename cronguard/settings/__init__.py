"""What users can set: options of jobs, settings, and plugins and secrets by name.

`loading` reads the layers (code, environment, file) and never raises: it reports what is wrong and
uses what is valid. `options` is the table of a guarded job's, `job_values` their checks; `plugins`
turns names into classes.
"""

__all__ = [
    "channels",
    "file",
    "host_zone",
    "job_values",
    "loading",
    "options",
    "plugins",
    "secret_sources",
    "secrets",
    "store_url",
    "types",
    "values",
]
