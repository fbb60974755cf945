"""Loading settings: `configure`, then the environment, the settings file and the defaults.

`load_settings` never raises: it reports what is wrong and uses what is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cronguard.core.errors import ConfigError
from cronguard.core.model import ChannelRule, Expectations, SecretRef
from cronguard.core.text import show, suggest
from cronguard.settings.channels import ChannelLoader
from cronguard.settings.file import read_settings_file
from cronguard.settings.job_values import check_job_name
from cronguard.settings.options import JOB_OPTIONS, JobConfig, Place, check_option
from cronguard.settings.store_url import check_store, describe_default_store, store_target
from cronguard.settings.types import (
    DEFAULT_REDACT,
    DEFAULT_STORE_TIMEOUT,
    ChannelSettings,
    Layer,
    Loaded,
    Notes,
    Settings,
)

if TYPE_CHECKING:
    from cronguard.core.interfaces import Redact, Store

_ENVIRONMENT_KEYS = ("store", "channels", "store_timeout", "test_mode", "redact", "proxy")
_SUPABASE_VARIABLES = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY")


def load_settings(
    overrides: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    cwd: Path | None,
    main: Path | None,
) -> Loaded:
    """Return the current settings, with problems and warnings of one line each; never raise.

    If no channel is usable, the only default one is ``console``.

    Args:
        overrides: What `check_overrides` returned.
        environ: The environment variables.
        cwd: The working directory; None if it is gone.
        main: The path of the main script; None if there is none.
    """
    try:
        return _load(overrides, environ, cwd, main)
    except Exception as error:  # noqa: BLE001  # third-party code
        console = ChannelSettings("console", "console")
        problem = f"settings cannot be read ({type(error).__name__}), the defaults are used"
        return Loaded(
            Settings(channels=(console,), redact="strict"), (f"{problem}: run cronguard doctor",)
        )


def _load(
    overrides: Mapping[str, Any],
    environ: Mapping[str, str],
    cwd: Path | None,
    main: Path | None,
) -> Loaded:
    notes = Notes()
    tables = [Layer("configure()", overrides)]
    layers = [*tables, _environment(environ)]
    found = read_settings_file(notes, environ, cwd, main)
    file = found[0] if found else None
    if found:
        layers.append(found[1])
        tables.append(found[1])
        _check_keys(notes, found[1])
    # A file that cannot be read may ask for "strict", so the safer mode applies.
    default_redact: Redact = "strict" if notes.problems and not found else DEFAULT_REDACT
    strongest = _StrongestValue(notes, layers)

    def redact_of(layer: Layer, value: object) -> Redact:
        from cronguard.settings.values import check_redact  # few programs set it

        try:
            return check_redact(layer, value)
        except ConfigError as error:
            notes.problem(f"{layer.source('redact')}: {error}; until then it is 'strict'")
            return "strict"

    def store_of(layer: Layer, value: object) -> str | SecretRef | Store:
        return check_store(layer, value, file.parent if layer.is_file and file else cwd)

    jobs, unclear = _jobs(notes, tables)
    before = len(notes.problems)
    store = strongest("store", None, store_of)
    if len(notes.problems) > before:
        used = f"that of {notes.sources['store']} is used"
        if store is None:
            used = f"runs are kept in {describe_default_store(environ)}"
        notes.problems[-1] += f"; until then {used}"
    listed = strongest("channels", None)
    loader = ChannelLoader(notes, tables, environ)
    channels = loader.choose(listed, notes.sources["channels"], jobs)
    _keep_known_channels(jobs, {channel.name for channel in channels})
    settings = Settings(
        store=store,
        channels=channels,
        jobs=jobs,
        unclear=unclear,
        store_timeout=strongest("store_timeout", DEFAULT_STORE_TIMEOUT),
        redact=strongest("redact", default_redact, redact_of),
        redact_keep=strongest("redact_keep", ()),
        test_mode=strongest("test_mode", False),
        proxy=strongest("proxy", None),
        file=file,
        sources=notes.sources,
    )

    def warn() -> list[str]:
        loader.warn_of_unread()
        _hint_at_supabase(notes, store, environ)
        return notes.warnings

    return Loaded(settings, tuple(notes.problems), warn)


class _StrongestValue:
    """A function from a key to its valid value in the strongest of the ``layers``.

    A value is checked by ``check``, else by the key's own in `cronguard.settings.values`.
    """

    def __init__(self, notes: Notes, layers: Sequence[Layer]) -> None:
        self._notes = notes
        self._layers = layers

    def __call__(
        self, key: str, default: Any, check: Callable[[Layer, Any], Any] | None = None
    ) -> Any:
        found: list[Any] = []
        self._notes.sources[key] = "default"
        for layer in self._layers:
            if (value := layer.table.get(key)) is None:
                continue
            if check is None:
                from cronguard.settings import values  # not needed for the defaults

                check = getattr(values, f"check_{key}")
            try:  # a value that is overridden is checked too: it may be a secret in a file
                found.append(check(layer, value))
            except ConfigError as error:
                self._notes.problem(f"{layer.source(key)}: {error}")
            else:
                if len(found) == 1:
                    self._notes.sources[key] = layer.source(key)
        return found[0] if found else default


def check_overrides(**given: object) -> dict[str, Any]:
    """Check the shape of the keywords of `cronguard.configure`; return those given.

    They are ``store`` (address or store object), ``channels`` (names and channel objects),
    ``channel`` and ``job`` (tables by name), ``store_timeout``, ``test_mode``, ``redact``,
    ``redact_keep`` and ``proxy``. None is the same as not given.

    Raises:
        ConfigError: A keyword is unknown, or a value has the wrong shape.
    """
    from cronguard.settings import values  # not on a run's path

    layer = Layer("configure()", given)
    special: dict[str, Callable[[Layer, Any], object]] = {
        "store": lambda layer, value: (check_store(layer, value, Path("/")), value)[1],
        "job": lambda _, value: _check_job_tables(value),
    }
    checked: dict[str, Any] = {}
    for key, value in given.items():
        if key not in values.KEYS:
            meant = suggest(key, values.KEYS) or f": use one of {', '.join(values.KEYS)}"
            raise ConfigError(f"configure(): unknown keyword {show(key)}{meant}")
        if value is None:
            continue
        try:
            check = special.get(key) or getattr(values, f"check_{key}")
            checked[key] = check(layer, value)
        except ConfigError as error:
            raise ConfigError(f"configure(): {error}") from None
    return checked


def channel_named(name: str, environ: Mapping[str, str]) -> ChannelSettings:
    """Return a channel that only a job's own ``channels`` name, set up by the environment alone.

    Raises:
        ConfigError: There is no such channel, or it lacks an option. The message is one line.
    """
    notes = Notes()
    channel = ChannelLoader(notes, [], environ).named(name)
    if channel is None:
        raise ConfigError("; ".join(notes.problems))
    return channel


def channel_rules(job: JobConfig, channels: Sequence[ChannelSettings]) -> tuple[ChannelRule, ...]:
    """Return the channels that are notified about a job, and what each overrides.

    They are those that the job names. If it names none, or none of them is ready, they are the
    default channels, so that somebody is notified.
    """
    chosen = [c for c in channels if job.channels is not None and c.name in job.channels]
    return tuple(
        ChannelRule(
            channel.name,
            channel.threshold,
            (channel.realert_every or 0) if channel.has_realert else None,
        )
        for channel in chosen or [c for c in channels if c.default]
    )


def _environment(environ: Mapping[str, str]) -> Layer:
    table = {key: environ.get(f"CRONGUARD_{key.upper()}", "").strip() for key in _ENVIRONMENT_KEYS}
    return Layer("environment", {key: value for key, value in table.items() if value})


def _check_keys(notes: Notes, layer: Layer) -> None:
    from cronguard.settings.values import KEYS  # only where there is a file

    for key in layer.table:
        if key not in KEYS:
            hint = (
                f": the keys of this file stand without [{'tool.' * (key == 'tool')}cronguard]"
                if key in ("tool", "cronguard")
                else suggest(key, KEYS) or f": use one of {', '.join(KEYS)}"
            )
            notes.problem(f"{layer.label}: unknown key {show(key)}{hint}")


def _jobs(
    notes: Notes, layers: Sequence[Layer]
) -> tuple[dict[str, dict[str, Any]], dict[str, frozenset[str]]]:
    """Return the checked options of every job in the settings, and those that are wrong.

    Stronger layers override weaker ones.
    """
    jobs: dict[str, dict[str, Any]] = {}
    unclear: dict[str, frozenset[str]] = {}
    for layer in reversed(layers):
        section = layer.table.get("job", {})
        if not isinstance(section, Mapping):
            notes.problem(f"{layer.label}: job is {show(section)}: write a table for each job")
            continue
        for name, table in section.items():
            where = f"{layer.label} [job.{name}]"
            try:
                options = jobs.setdefault(check_job_name(name), {})
                items = _items(name, table)
            except ConfigError as error:
                notes.problem(f"{layer.label}: {error}")
                continue
            place: Place = "file" if layer.is_file else "configure"
            for key, value in items:
                try:
                    options[key] = check_option(key, value, place)
                except ConfigError as error:
                    notes.problem(f"{where}: {error}")
                    if key in Expectations._fields:  # else it may hold anything
                        unclear[name] = unclear.get(name, frozenset()) | {key}
                else:
                    notes.sources[f"job.{name}.{key}"] = layer.label
    for name, wrong in unclear.items():
        if "timezone" in wrong and "timezone" not in jobs[name]:  # it would mean other times in UTC
            jobs[name].pop("schedule", None)
            unclear[name] = wrong | {"schedule"}
    return jobs, unclear


def _keep_known_channels(jobs: Mapping[str, dict[str, Any]], known: set[str]) -> None:
    for options in jobs.values():
        if named := options.pop("channels", None):
            ready = tuple(name for name in named if name in known)
            options.update({"channels": ready} if ready else {})


def _items(name: str, table: object) -> list[tuple[str, object]]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"job {name} is {show(table)}: write a table of its options")
    return [
        (key, value)
        for key, value in table.items()
        if value is not None or (key in JOB_OPTIONS and JOB_OPTIONS[key].none_is_a_value)
    ]


def _check_job_tables(value: object) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"job is {show(value)}: give a mapping from a job's name to its options")
    return {
        check_job_name(name): {
            key: check_option(key, item, "configure") for key, item in _items(name, table)
        }
        for name, table in value.items()
    }


def _hint_at_supabase(
    notes: Notes, store: str | SecretRef | Store | None, environ: Mapping[str, str]
) -> None:
    present = [name for name in _SUPABASE_VARIABLES if environ.get(name, "").strip()]
    if not present or not (store is None or isinstance(store, str | SecretRef)):
        return
    try:
        scheme = store_target(store, environ).scheme if store is not None else "sqlite"
    except ConfigError:
        return  # opening the store will report it
    if scheme != "supabase":
        notes.warn(
            f"{' and '.join(present)} set, but the store is {scheme}: "
            "set CRONGUARD_STORE=supabase if runs belong in Supabase"
        )


__all__ = [
    "ChannelSettings",
    "Loaded",
    "Settings",
    "channel_named",
    "channel_rules",
    "check_overrides",
    "load_settings",
]
