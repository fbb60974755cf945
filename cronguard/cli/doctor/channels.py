"""What `cronguard doctor` looks at of channels, heartbeats and alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cronguard.cli.doctor.findings import Check
from cronguard.cli.opening import jobs_of, store_on_demand
from cronguard.cli.output.lines import plural
from cronguard.core.clock import readable
from cronguard.core.errors import ChannelError, PluginError
from cronguard.core.model import DELIVERY_SECONDS, MOST_ALERTS, SecretRef
from cronguard.process.workers import NoThread, Overdue, TimeoutPool
from cronguard.runtime.delivery_codes import explain

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store
    from cronguard.settings.types import ChannelSettings, Settings

_RECENT = timedelta(days=7)


def alerts(store: Store, settings: Settings) -> Iterator[Check]:
    jobs = jobs_of(store)
    pending = sum(status.alerts_pending for status in jobs)
    dead = sum(status.alerts_dead for status in jobs)
    if pending:
        waiting = store.alerts(state="pending", limit=MOST_ALERTS)
        known = {channel.name for channel in settings.channels}
        names = sorted({record.channel for record in waiting})
        foreign = [name for name in names if name not in known]
        codes = sorted({record.error_code for record in waiting if record.error_code})
        yield Check(
            "alerts",
            "warning",
            f"{plural(pending, 'alert')} waiting for {', '.join(names)}"
            + (f" (last time: {_explained(codes)})" if codes else "")
            + (f"; not set up here: {', '.join(foreign)}" if foreign else "")
            + f": cronguard deliver sends them {'now' if foreign != names else 'where they are'}",
        )
    if dead:
        given_up = store.alerts(state="dead", limit=MOST_ALERTS)
        codes = sorted({record.error_code or "unknown" for record in given_up})
        yield Check(
            "alerts",
            "error",
            f"{plural(dead, 'alert')} given up ({_explained(codes)}): correct the channel, then"
            " cronguard deliver --given-up",
        )
    since = datetime.now(UTC) - _RECENT
    incomplete = [
        record
        for record in store.alerts(state="sent")
        if record.error_code and record.created_at > since
    ]
    if incomplete:
        codes = sorted({record.error_code or "unknown" for record in incomplete})
        yield Check(
            "alerts",
            "warning",
            f"{plural(len(incomplete), 'alert')} of the last week did not reach everybody"
            f" ({_explained(codes)})",
        )
    if not pending and not dead:
        yield Check("alerts", "ok", "none waiting, none given up")


def _explained(codes: list[str]) -> str:
    return "; ".join(f"{code}: {what}" if (what := explain(code)) else code for code in codes)


def channels(settings: Settings) -> Iterator[Check]:
    for channel in settings.channels:
        doubts: list[str] = []
        error = _error_of(partial(_build, channel, doubts), settings)
        whose = "" if channel.default else ", for jobs that name it"
        if error is None and doubts:
            yield Check(f"channel {channel.name}", "warning", f"complete{whose}, but {doubts[0]}")
        elif error is None:
            yield Check(f"channel {channel.name}", "ok", f"complete{whose}")
        else:
            yield Check(f"channel {channel.name}", "error", error)
    described = [channel for channel in settings.channels if channel.default]
    if all(channel.type in ("console", "log") for channel in described):
        yield Check(
            "channels",
            "warning",
            "alerts are only written where the job runs: set up slack, webhook or e-mail; see"
            " cronguard channels",
        )
    elif settings.store is not None and all(_in_vault(channel) for channel in described):
        yield Check(
            "channels",
            "warning",
            "every channel has its secret in the vault of the database that it is to watch: let"
            " one have it in the environment",
        )


def heartbeats(settings: Settings) -> Iterator[Check]:
    for job, options in settings.jobs.items():
        ref = options.get("heartbeat_url")
        if isinstance(ref, SecretRef):
            error = _error_of(partial(_find_address, ref), settings)
            yield Check(f"heartbeat {job}", "error" if error else "ok", error or "complete")


_OpensStore = Callable[[], "Store"]


def _error_of(build: Callable[[_OpensStore], object], settings: Settings) -> str | None:
    """Return why something cannot be built, secrets and all; None if it can."""

    def attempt() -> str | None:
        try:
            with store_on_demand(settings) as store:
                build(store)
        except (ChannelError, PluginError) as error:
            said = None if getattr(error, "detail", None) else explain(getattr(error, "code", None))
            return f"{error}: {said}" if said else str(error)
        except BaseException as error:  # noqa: BLE001  # a plugin may raise anything, secrets in its text
            return f"it cannot be built with these options ({type(error).__name__})"
        return None

    try:
        return TimeoutPool(most_late=1).call(attempt, DELIVERY_SECONDS)
    except NoThread:
        return attempt()
    except Overdue:
        return f"its secrets were not found within {DELIVERY_SECONDS:g} s"


def _build(channel: ChannelSettings, doubts: list[str], store: _OpensStore) -> None:
    from cronguard.channels.slack import SlackChannel
    from cronguard.runtime.channel_factory import build_channel

    built = build_channel(channel, store)
    if isinstance(built, SlackChannel):
        doubts += built.doubts


def _find_address(ref: SecretRef, store: _OpensStore) -> None:
    from cronguard.channels.transport.http import check_url
    from cronguard.runtime.channel_factory import resolve_secret

    check_url(resolve_secret(ref, store))


def _in_vault(channel: ChannelSettings) -> bool:
    return any(
        isinstance(value, SecretRef) and value.scheme == "vault"
        for value in channel.options.values()
    )


def changes(folder: Path | None) -> Iterator[Check]:
    """Look for jobs whose alerts go elsewhere from this host than they did.

    ``folder`` is the store's `channels_folder`.
    """
    from cronguard.runtime import known_channels

    if folder is None:
        return
    since = datetime.now(UTC) - _RECENT
    for change in known_channels.changes(folder):
        if change.since > since:
            yield Check(
                f"channels of {change.job}",
                "warning",
                f"its alerts go to {change.channels} from this host since"
                f" {readable(change.since)}, and went to {change.before} before: if nobody meant"
                " that, look with cronguard doctor --as-cron",
            )


def proxy(settings: Settings) -> Iterator[Check]:
    """Look at the proxy that https requests go through, or may have to."""
    from cronguard.channels.transport import proxy as transport
    from cronguard.runtime.channel_factory import resolve_secret

    setting = settings.proxy
    if setting is None and (sentence := transport.unused_sentence()):
        yield Check("proxy", "warning", sentence)
    if setting == transport.ENVIRONMENT and transport.variable_that_names_one() is None:
        yield Check(
            "proxy",
            "warning",
            "proxy is env, but HTTPS_PROXY is not set here: https requests go straight out",
        )
    elif isinstance(setting, SecretRef) or setting == transport.ENVIRONMENT:

        def look(store: _OpensStore) -> None:
            if isinstance(setting, SecretRef):
                transport.parse(resolve_secret(setting, store))
            else:
                transport.use(setting)
                transport.proxy_for("service.example")

        error = _error_of(look, settings)
        fine = "https requests of channels and heartbeats go through a proxy"
        yield Check("proxy", "error" if error else "ok", error or fine)
