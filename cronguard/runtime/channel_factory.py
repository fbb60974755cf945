"""From a channel's settings to a channel ready to send: once per attempt, in a delivery thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

from cronguard.core.errors import CronguardError, PluginError
from cronguard.core.interfaces import Channel, SecretSource, Store
from cronguard.core.model import SecretRef
from cronguard.core.text import show
from cronguard.runtime.store_factory import without_spool
from cronguard.settings.loading import ChannelSettings
from cronguard.settings.plugins import CHANNELS, SECRETS, builtin_names, load, options_of
from cronguard.settings.secrets import resolve


def build_channel(
    settings: ChannelSettings,
    store: Callable[[], Store] | None = None,
    proxy: SecretRef | str | None = None,
) -> Channel:
    """Return the channel with its secrets resolved, and have this thread use the proxy.

    Args:
        settings: The channel's settings.
        store: Opens the store of these settings, for secrets that are kept there.
        proxy: As in `Settings`.

    Raises:
        PluginError: The channel's class cannot be used.
        SecretError: A secret cannot be read.
    """
    use_proxy(proxy, store)
    if settings.instance is not None:
        return cast("Channel", settings.instance)
    kind = load(CHANNELS, settings.type)
    sources = secret_sources(store)
    options = {
        name: resolve(value, sources) if isinstance(value, SecretRef) else value
        for name, value in settings.options.items()
    }
    declared = options_of(kind)
    defaults = {each.name: each.default for each in declared if each.default is not None}
    try:
        return cast("Channel", kind(**{**defaults, **options}))
    except CronguardError:
        raise
    except Exception as error:  # noqa: BLE001  # third-party code; its text may hold a secret
        caught = type(error).__name__
    takes = ", ".join(each.name for each in declared) or "none"
    duty = (
        f"must take its options ({takes}) by name"
        if caught == "TypeError"
        else "must raise ChannelError for options that it cannot use"
    )
    raise PluginError(
        f"channel {show(settings.type)} cannot be made ({caught}): {kind.__module__} {duty};"
        " update or remove that package"
    )


def use_proxy(
    proxy: SecretRef | str | None, store: Callable[[], Store] | None = None
) -> str | None:
    """Have this thread's requests to services go through a proxy; return what was set.

    Args:
        proxy: As in `Settings`.
        store: As for `build_channel`.

    Raises:
        SecretError: Its address cannot be read.
    """
    from cronguard.channels.transport.proxy import use

    address = resolve_secret(proxy, store) if isinstance(proxy, SecretRef) else proxy
    use(address)
    return address


def resolve_secret(ref: SecretRef, store: Callable[[], Store] | None = None) -> str:
    """Return the secret behind a reference, as `build_channel` reads it.

    Raises:
        SecretError: It cannot be read.
    """
    return resolve(ref, secret_sources(store))


def secret_sources(store: Callable[[], Store] | None = None) -> Mapping[str, SecretSource]:
    """Return the source for each scheme, loaded when a reference of its scheme is read."""
    return _SecretSources(store)


class _SecretSources(Mapping[str, SecretSource]):
    def __init__(self, store: Callable[[], Store] | None) -> None:
        self._store = store

    def __getitem__(self, scheme: str) -> SecretSource:
        try:
            kind = load(SECRETS, scheme)
        except PluginError:
            raise KeyError(scheme) from None
        from_store = getattr(kind, "from_store", None)
        if from_store is None or self._store is None:
            return cast("SecretSource", kind())
        return cast("SecretSource", from_store(without_spool(self._store())))

    def __iter__(self) -> Iterator[str]:
        return iter(builtin_names(SECRETS))

    def __len__(self) -> int:
        return len(builtin_names(SECRETS))
