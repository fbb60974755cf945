"""``cronguard channels``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cronguard.cli.arguments import json_option
from cronguard.cli.opening import load_settings
from cronguard.cli.output.layout import table
from cronguard.cli.output.lines import emit, say
from cronguard.core.install import DISTRIBUTION
from cronguard.core.model import SecretRef

if TYPE_CHECKING:
    from cronguard.settings.plugins import PluginInfo
    from cronguard.settings.types import ChannelSettings, Settings


@click.command()
@json_option
def command(*, as_json: bool) -> int:
    """Show where alerts can go.

    Every channel that is set up, whom it is told about and where its options come from; then those
    that are installed, with what each needs. Secrets are named, never shown.

    \b
    Set one up by the environment alone:
      export CRONGUARD_SLACK_WEBHOOK_URL=https://hooks.slack.com/services/...
      cronguard test-alert --channel slack

    \b
    --json prints cronguard.channels/1:
      {"schema", "channels": [{"name", "type", "state": "ready" | "not set up" | "not installed" |
       "broken", "default", "distribution", "threshold", "realert_every", "options": {name: the
       secret's reference, or where the value comes from}, "needs": [variables], "error"}]}
    """
    loaded = load_settings(say_problems=True)
    rows = _rows(loaded.settings)
    if as_json:
        emit("channels/1", channels=rows)
    else:
        others = any(not (row["distribution"] or "").startswith(f"{DISTRIBUTION} ") for row in rows)
        table(
            ("CHANNEL", "STATE", "ALERTS OF", "FROM", "OPTIONS"),
            [
                (
                    _title(row),
                    row["state"],
                    _audience(row),
                    (row["distribution"] or "-") if others else "",
                    row["error"] or _options(row),
                )
                for row in rows
            ],
        )
        for warning in loaded.warnings:
            say(f"! {warning}")
        if all(row["type"] in ("console", "log") for row in rows if row["default"]):
            say(
                "Alerts are only written where the job runs. To be told elsewhere, set what a"
                " channel above needs, then: cronguard test-alert"
            )
    return 2 if loaded.problems else 0


def _rows(settings: Settings) -> list[dict[str, Any]]:
    from cronguard.settings.plugins import CHANNELS, describe

    plugins = describe(CHANNELS)
    by_name = {info.name: info for info in reversed(plugins)}
    rows = [_ready(channel, by_name.get(channel.type), settings) for channel in settings.channels]
    used = {channel.type for channel in settings.channels}
    return rows + [_unused(info) for info in plugins if info.error or info.name not in used]


def _ready(channel: ChannelSettings, info: PluginInfo | None, settings: Settings) -> dict[str, Any]:
    sources = settings.sources
    return {
        "name": channel.name,
        "type": channel.type,
        "state": "ready",
        "default": channel.default,
        "distribution": info.distribution if info else None,
        "threshold": channel.threshold,
        "realert_every": channel.realert_every if channel.has_realert else None,
        "options": {
            key: str(value)
            if isinstance(value, SecretRef)
            else sources.get(f"channel.{channel.name}.{key}", "default")
            for key, value in channel.options.items()
        },
        "needs": [],
        "error": None,
    }


def _unused(info: PluginInfo) -> dict[str, Any]:
    from cronguard.settings.channels import variable
    from cronguard.settings.plugins import CHANNELS, load, options_of

    declared = [] if info.error else options_of(load(CHANNELS, info.name))
    return {
        "name": info.name,
        "type": info.name,
        "state": _state(info),
        "default": False,
        "distribution": info.distribution,
        "threshold": None,
        "realert_every": None,
        "options": {},
        "needs": [variable(info.name, option.name) for option in declared if option.required],
        "error": info.error,
    }


def _state(info: PluginInfo) -> str:
    if not info.installed:
        return "not installed"
    return "broken" if info.error else "not set up"


def _title(row: dict[str, Any]) -> str:
    name, kind = row["name"], row["type"]
    return str(name if name == kind else f"{name} ({kind})")


def _audience(row: dict[str, Any]) -> str:
    if row["state"] != "ready":
        return "-"
    whose = "every job" if row["default"] else "jobs that name it"
    return f"{whose}, from {row['threshold']} failures" if row["threshold"] else whose


def _options(row: dict[str, Any]) -> str:
    if row["state"] == "not set up":
        return "needs " + (", ".join(row["needs"]) or "only its name in CRONGUARD_CHANNELS")
    return ", ".join(f"{key} from {source}" for key, source in row["options"].items()) or "-"
