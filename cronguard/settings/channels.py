"""Channels from settings: which there are, and which of them are ready for use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cronguard.core.errors import ConfigError, PluginError
from cronguard.core.model import Option, SecretRef
from cronguard.core.text import show, suggest
from cronguard.settings.job_values import check_channel_name
from cronguard.settings.types import CHANNEL_RULES, ChannelSettings, Layer, Notes

_VARIABLE_PREFIX = "CRONGUARD_"
_OWN_VARIABLES = frozenset(
    _VARIABLE_PREFIX + name
    for name in (
        "STORE",
        "CHANNELS",
        "CONFIG",
        "TEST_MODE",
        "STORE_TIMEOUT",
        "REDACT",
        "RUN",
        "PROXY",
    )
)
_ALWAYS_READY = ("console", "log")
_MAX_WARNINGS = 20


class _Value(NamedTuple):
    """An option's value as written in one place."""

    key: str
    value: object
    source: str
    where: str
    variable: str
    from_environment: bool = False


class ChannelLoader:
    """Builds channels from ``layers``, strongest first, and the environment.

    The environment is weaker than `configure` and stronger than the settings file. Problems are
    added to ``notes``; a channel that cannot work is left out.
    """

    def __init__(self, notes: Notes, layers: Sequence[Layer], environ: Mapping[str, str]) -> None:
        self._notes = notes
        self._variables = {
            name: value.strip()
            for name, value in environ.items()
            if name.startswith(_VARIABLE_PREFIX) and name not in _OWN_VARIABLES and value.strip()
        }
        self._read_variables: set[str] = set()
        self._known_variables: set[str] = set(_OWN_VARIABLES)
        self._built: dict[str, ChannelSettings | None] = {}
        self._layers = [(layer, _tables(notes, layer)) for layer in layers]
        self._tables = dict.fromkeys(
            name for _, tables in reversed(self._layers) for name in tables
        )

    def choose(
        self, listed: Sequence[object] | None, source: str, jobs: Mapping[str, Mapping[str, Any]]
    ) -> tuple[ChannelSettings, ...]:
        """Return every channel that is ready for use; there is always at least one.

        The default ones come first. ``console`` and ``log`` are always there for jobs that name
        them.

        Args:
            listed: The default channels, names or objects; None for all that are set up.
            source: Where they are listed.
            jobs: The options of jobs by name; the channels that they name are built too.
        """
        if listed is not None:
            default = self._listed(listed, source)
            found = self._detected()
        else:
            found = self._detected()
            default = [channel for name in found if (channel := self._build(name))]
        if not default:
            default = [ChannelSettings("console", "console")]
            self._notes.sources["channels"] = "default"
        ready = {channel.name: channel for channel in default}
        for name in (*found, *_ALWAYS_READY):
            if name not in ready and (channel := self._build(name)):
                ready[name] = channel._replace(default=False)
        for job, options in jobs.items():
            for name in options.get("channels", ()):
                channel = self._build(name, named_by=f"job {job}")
                if channel and name not in ready:
                    ready[name] = channel._replace(default=False)
        return tuple(ready.values())

    def named(self, name: str) -> ChannelSettings | None:
        """Return the channel that a job names, or note a problem and return None."""
        channel = self._build(name, named_by="channels")
        return channel._replace(default=False) if channel else None

    def _listed(self, listed: Sequence[object], source: str) -> list[ChannelSettings]:
        from cronguard.settings.values import instance_name  # few programs list channels

        named_by = source if source.startswith("environment") else f"{source} channels"
        channels: dict[str, ChannelSettings] = {}
        for item in listed:
            if isinstance(item, str):
                channel = self._build(item, named_by=named_by)
                if channel:
                    channels.setdefault(item, channel)
            else:
                name = _free_name(instance_name(item), channels)
                channels[name] = ChannelSettings(name, name, instance=item)
        return list(channels.values())

    def _detected(self) -> list[str]:
        """Return the channels with a table, those that a variable gives a type, and built-ins of
        which an option is set."""
        typed = [_channel_of(name) for name in sorted(self._variables) if name.endswith("_TYPE")]
        names = dict.fromkeys((*self._tables, *filter(None, typed)))
        taken = {variable(name, "") for name in names}
        for name in self._builtins_set_up():
            if variable(name, "") not in taken:
                names[name] = None
        return list(names)

    def _builtins_set_up(self) -> Iterator[str]:
        if not self._variables:
            return
        from cronguard.settings import plugins  # only when a channel is set up

        known = {name: variable(name, "") for name in plugins.builtin_names(plugins.CHANNELS)}
        every = tuple(known.values())
        own = [each for each in self._variables if each.startswith(every)]
        for name, prefix in known.items():
            mine = {each for each in own if each.startswith(prefix)}
            try:
                if mine and mine & _variables_of(name, _options(self._channel_class(name, name))):
                    yield name
            except PluginError:
                yield name  # which is reported when it is built

    def _build(self, name: str, *, named_by: str | None = None) -> ChannelSettings | None:
        if name not in self._built:
            try:
                self._built[name] = self._make(check_channel_name(name), named_by)
            except (ConfigError, PluginError) as error:
                where = named_by or (None if repr(name) in str(error) else f"channel {name}")
                self._notes.problem(f"{where}: {error}" if where else str(error))
                self._built[name] = None
        return self._built[name]

    def _make(self, name: str, named_by: str | None) -> ChannelSettings | None:
        prefix = variable(name, "")
        if (
            name in _ALWAYS_READY
            and name not in self._tables
            and not [each for each in self._variables if each.startswith(prefix)]
        ):
            return ChannelSettings(name, name)
        from cronguard.settings.values import check_rule  # only when a channel is set up

        kind_name = self._type_of(name)
        options = _options(self._channel_class(name, kind_name))
        self._known_variables |= _variables_of(name, _option_keys(options))
        given: dict[str, str | SecretRef] = {}
        rules: dict[str, int | None] = {}
        refused: set[str] = set()
        for item in self._values(name, options):
            if item.key in given or item.key in rules:
                if item.key in options and not item.from_environment:
                    self._check_unused(options[item.key], item)
                continue
            try:
                if item.key in options:
                    given[item.key] = _checked(options[item.key], item)
                elif item.key in CHANNEL_RULES:
                    rules[item.key] = check_rule(
                        item.key, item.value, from_text=item.from_environment
                    )
                else:
                    known = ["type", *_option_keys(options)]
                    raise ConfigError(  # noqa: TRY301  # reported like the others
                        f"unknown option {show(item.key)}{suggest(item.key, known)}: "
                        f"{kind_name} takes {', '.join(known)}"
                    )
            except ConfigError as error:
                self._notes.problem(f"{item.where}: {error}")
                refused.add(item.key)
            else:
                self._notes.sources[f"channel.{name}.{item.key}"] = item.source
        needed = {option.name for option in options.values() if option.required}
        secret = {option.name for option in options.values() if option.secret}
        if (refused - set(given)) & (needed | secret):
            return None
        if missing := needed - set(given):
            self._note_missing(name, named_by, [key for key in options if key in missing], given)
            return None
        return ChannelSettings(
            name,
            kind_name,
            given,
            rules.get("threshold"),
            rules.get("realert_every"),
            "realert_every" in rules,
        )

    def _check_unused(self, option: Option, item: _Value) -> None:
        """Check a value that a stronger place overrides: it may still be a secret in a file."""
        try:
            _checked(option, item)
        except ConfigError as error:
            self._notes.problem(f"{item.where}: {error}")

    def _channel_class(self, name: str, kind_name: str) -> type:
        from cronguard.settings import plugins  # only when a channel is set up

        try:
            return plugins.load(plugins.CHANNELS, kind_name)
        except PluginError:
            installed = plugins.names(plugins.CHANNELS)
            if kind_name in installed or kind_name != name:
                raise
            known = {*installed, *self._tables} - {name}
            untyped = f", and [channel.{name}] names no type" if name in self._tables else ""
            raise ConfigError(
                f"there is no channel {show(name)}{suggest(name, known)}{untyped}: "
                f"use one of {', '.join(sorted(known))}, or install the plugin that provides it"
            ) from None

    def _type_of(self, name: str) -> str:
        holder = variable(name, "type")
        for layer, tables in self._layers:
            if layer.is_file and holder in self._variables:
                break
            if "type" in tables.get(name, {}):
                self._notes.sources[f"channel.{name}.type"] = layer.label
                return check_channel_name(tables[name]["type"])
        if holder in self._variables:
            self._read_variables.add(holder)
            self._notes.sources[f"channel.{name}.type"] = f"environment {holder}"
            return check_channel_name(self._variables[holder])
        return name

    def _values(self, name: str, options: Mapping[str, Option]) -> Iterator[_Value]:
        """Yield the channel's options from every place, the strongest first."""
        for layer, tables in self._layers:
            if layer.is_file:
                yield from self._from_environment(name, options)
            for key, value in tables.get(name, {}).items():
                if key != "type":
                    where = f"{layer.label} [channel.{name}]"
                    yield _Value(key, value, layer.label, where, variable(name, key))
        if not any(layer.is_file for layer, _ in self._layers):
            yield from self._from_environment(name, options)

    def _from_environment(self, name: str, options: Mapping[str, Option]) -> Iterator[_Value]:
        for key in _option_keys(options):
            holder = variable(name, key)
            if holder in self._variables:
                self._read_variables.add(holder)
                where = f"environment {holder}"
                yield _Value(key, self._variables[holder], where, where, holder, True)

    def _note_missing(
        self, name: str, named_by: str | None, missing: Sequence[str], given: Mapping[str, object]
    ) -> None:
        names = ", ".join(missing)
        holders = ", ".join(variable(name, key) for key in missing)
        if named_by:
            self._notes.problem(
                f"{named_by}: channel {name} has no {names}, so it cannot be used: set {holders}"
            )
        elif given or name in self._tables:
            self._notes.warn(f"channel {name} is not used, since it has no {names}: set {holders}")

    def warn_of_unread(self) -> None:
        """Warn of variables that nothing reads; looking for what was meant takes long."""
        unread = sorted(set(self._variables) - self._read_variables)
        if not unread:
            return
        from cronguard.settings import plugins  # only when a channel is set up

        for name in plugins.builtin_names(plugins.CHANNELS):
            try:
                options = _options(plugins.load(plugins.CHANNELS, name))
            except PluginError:  # its extra is missing, as reported already
                unread = [each for each in unread if not each.startswith(variable(name, ""))]
            else:
                self._known_variables |= _variables_of(name, _option_keys(options))
        for name in unread[:_MAX_WARNINGS]:
            self._notes.warn(
                f"nothing reads {show(name)}{suggest(name, self._known_variables)}: "
                f"{_name_the_channel(name)}rename or unset it"
            )
        if more := unread[_MAX_WARNINGS:]:
            self._notes.warn(f"nothing reads {len(more):,} more variables that begin like these")


def variable(channel: str, option: str) -> str:
    """Return the name of the environment variable for a channel's option."""
    return f"{_VARIABLE_PREFIX}{channel}_{option}".upper().replace("-", "_")


def _variables_of(channel: str, options: Iterable[str]) -> set[str]:
    return {variable(channel, option) for option in options}


def _channel_of(name: str) -> str | None:
    """Return ``oncall`` for CRONGUARD_ONCALL_TYPE; None for those that are there anyway."""
    channel = name[len(_VARIABLE_PREFIX) : -len("_TYPE")].lower().replace("_", "-")
    return channel if channel and channel not in _ALWAYS_READY else None


def _name_the_channel(name: str) -> str:
    """Return what to do about a variable that is of a third party's channel."""
    from cronguard.settings import plugins  # only when something is wrong

    for channel in plugins.foreign_names(plugins.CHANNELS):
        if name.startswith(variable(channel, "")):
            return f"name the channel {channel} in CRONGUARD_CHANNELS, or "
    return ""


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _options(kind: type) -> dict[str, Option]:
    declared: Sequence[Option] = kind.OPTIONS  # type: ignore[attr-defined]  # every channel has them
    return {option.name: option for option in declared}


def _option_keys(options: Mapping[str, Option]) -> tuple[str, ...]:
    return (*options, *CHANNEL_RULES)


def _checked(option: Option, item: _Value) -> str | SecretRef:
    from cronguard.settings.values import check_variable, check_written  # likewise

    if item.from_environment:
        return check_variable(option, str(item.value), item.variable)
    return check_written(option, item.value, item.variable)


def _tables(notes: Notes, layer: Layer) -> dict[str, Mapping[str, object]]:
    """Return the layer's channel tables by name, without malformed ones."""
    section = layer.table.get("channel", {})
    if not isinstance(section, Mapping):
        notes.problem(f"{layer.label}: channel is {show(section)}: write a table for each channel")
        return {}
    tables: dict[str, Mapping[str, object]] = {}
    for name, table in section.items():
        try:
            checked = check_channel_name(name)
            if not isinstance(table, Mapping):
                raise ConfigError(  # noqa: TRY301  # reported like a bad name
                    f"channel {name} is {show(table)}: write a table of its options"
                )
            tables[checked] = table
        except ConfigError as error:
            notes.problem(f"{layer.label}: {error}")
    return tables
