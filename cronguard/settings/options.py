"""The options of a guarded job: one table of them, and how they are checked and resolved.

What is said of an option anywhere comes from `JOB_OPTIONS`: the checks, the signature that
``help()`` shows, the command line of ``cronguard run``, the keys of a job's table in settings.
"""

# No `from __future__ import annotations` here: with it, a NamedTuple compiles each annotation from
# text, which costs every cron process more than the rest of this module.

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from cronguard.core.errors import ConfigError
from cronguard.core.model import Expectations, Origin, SecretRef, Statement
from cronguard.core.text import show, suggest
from cronguard.process.lifecycle import own_modules
from cronguard.settings.job_values import (
    OVERLAPS,
    OverlapOption,
    as_number,
    check_count,
    check_flag,
    check_ignore,
    check_job,
    check_max_runtime,
    check_names,
    check_overlap,
    check_runbook,
    check_schedule,
    check_seconds,
    check_secret_name,
    check_timezone,
)

if TYPE_CHECKING:  # making this class takes longer than all the rest here
    from collections.abc import Sequence
    from datetime import timedelta
    from typing import TypedDict

    class JobOptions(TypedDict, total=False):
        """The keywords of `cron_guarded` and `guard`, as users write them.

        A test holds this against `JOB_OPTIONS`.
        """

        job: str | None
        threshold: int
        realert_every: int | None
        channels: str | Sequence[str] | None
        overlap: OverlapOption
        max_runtime: timedelta | float | str | None
        schedule: str | None
        timezone: str
        grace: timedelta | float | str
        notify_recovery: bool
        ignore: type[BaseException] | Sequence[type[BaseException]]
        runbook: str | None
        test_mode: bool


NONE = "none"
DEFAULT = "default"
"""The texts that take an expectation back."""
Place: TypeAlias = Literal["code", "configure", "file", "command"]
"""Where an option is stated: a decorator or context manager, a job's table given to
`cronguard.configure` or in a settings file, the options of ``cronguard run``."""
_EVERYWHERE: tuple[Place, ...] = ("code", "configure", "file", "command")


class JobOption:
    """One option of a guarded job. The defaults of what a store keeps are `Expectations`'."""

    __slots__ = (
        "check",
        "choices",
        "command_default",
        "default",
        "flag",
        "help",
        "metavar",
        "name",
        "none",
        "places",
    )

    def __init__(
        self,
        name: str,
        check: Callable[[str, object], object],
        default: object = None,
        *,
        help: str,  # noqa: A002  # as click calls it
        none: str | None = None,
        metavar: str | None = None,
        choices: tuple[str, ...] | None = None,
        flag: str | None = None,
        places: tuple[Place, ...] = _EVERYWHERE,
        command_default: str | None = None,
    ) -> None:
        self.name = name
        self.check = check
        """Checks and normalises a value, given with the option's name."""
        self.default: Any = Expectations._field_defaults.get(name, default)
        """As `check` returns it."""
        self.help = help
        """One sentence, without the full stop."""
        self.none = none
        """What None means; None if it is not allowed."""
        self.metavar = metavar
        self.choices = choices
        self.flag = flag or f"--{name.replace('_', '-')}"
        """On the command line, where the option has a place there."""
        self.places = places
        self.command_default = command_default
        """The default of ``cronguard run`` in words, where that is another one."""

    @property
    def is_duration(self) -> bool:
        """Tell whether the value is a number of seconds."""
        return self.metavar == "DURATION"

    @property
    def none_is_a_value(self) -> bool:
        """Tell whether None is allowed and is not the same as leaving the option out."""
        return self.none is not None and self.default is not None

    @property
    def default_text(self) -> str:
        """Return the default as a user may write it; empty for None."""
        if self.is_duration:
            return f"{self.default / 60:g}m"
        return "" if self.default is None else str(self.default)


_OPTIONS = (
    JobOption(
        "job",
        check_job,
        help="Name of the job: 1 to 100 of `A-Z a-z 0-9 . _ : -`, shown in alerts",
        none="the function's name",
        places=("code", "command"),
    ),
    JobOption(
        "threshold", check_count, help="Alert when so many runs in a row have failed", metavar="N"
    ),
    JobOption(
        "realert_every",
        check_count,
        help="Alert again after every so many further failures",
        none="once an incident",
        metavar="N",
    ),
    JobOption(
        "channels",
        check_names,
        help="Channels to tell, one name or several",
        none="all that are set up",
        metavar="NAME",
        flag="--channel",
    ),
    JobOption(
        "overlap",
        check_overlap,
        "skip",
        help="What to do while another run of the job is open: skip, raise an error, or allow both",
        choices=OVERLAPS,
    ),
    JobOption(
        "max_runtime",
        check_max_runtime,
        help="Alert when a run takes longer",
        none="never",
        metavar="DURATION",
    ),
    JobOption(
        "schedule",
        check_schedule,
        help="When the job is expected, as a cron expression: a missed start is alerted",
        none="at no certain time",
        metavar="CRON",
    ),
    JobOption(
        "timezone",
        check_timezone,
        help="Time zone of the schedule",
        metavar="ZONE",
        command_default="for --schedule: this host's, as cron's",
    ),
    JobOption(
        "grace", check_seconds, help="How late a scheduled run may start", metavar="DURATION"
    ),
    JobOption(
        "notify_recovery",
        check_flag,
        help="Tell the channels that were told of an incident when it is over",
    ),
    JobOption(
        "ignore",
        check_ignore,
        (),
        help="Exception types that end a run as `cancelled`",
        places=("code", "configure"),
    ),
    JobOption(
        "runbook",
        check_runbook,
        help="An https link to show in alerts",
        none="no link",
        metavar="URL",
    ),
    JobOption(
        "test_mode", check_flag, False, help="Send a test alert at the end of every run as well"
    ),
    JobOption(
        "heartbeat_url",
        check_secret_name,
        help="Name of the secret that holds an address to ping after each run that ended",
        none="no ping",
        places=("configure", "file"),
    ),
)
JOB_OPTIONS: Mapping[str, JobOption] = {option.name: option for option in _OPTIONS}
_ELSEWHERE = {
    "job": "job cannot be set here: the table's own name is the job's",
    "ignore": (
        "ignore lists exception classes, which a settings file cannot name: "
        "pass ignore=(...) to @cron_guarded"
    ),
    "heartbeat_url": (
        "heartbeat_url is not stated here: write it in the job's settings, "
        "[tool.cronguard.job.NAME]"
    ),
}


class JobConfig(NamedTuple):
    """A job's resolved options: durations in seconds, defaults filled in."""

    job: str
    stated: tuple[Statement, ...]
    """What is expected of the job, as far as anybody here says so."""
    expected: Expectations
    """The same with the defaults for the rest: what holds until a store says more."""
    channels: tuple[str, ...] | None
    """None for the default channels of the settings."""
    overlap: OverlapOption
    ignore: tuple[type[BaseException], ...]
    test_mode: bool
    heartbeat_url: SecretRef | None
    """The address to ping after each ended run; set in settings only. None for none."""


_UNSTATED = {
    option.name: option.default
    for option in _OPTIONS
    if option.name in JobConfig._fields and option.name != "job"
}


def check_option(key: str, value: object, place: Place = "code") -> object:
    """Return one option's value, checked and normalised.

    Args:
        key: The option's name.
        value: The value as written. A number on the command line is text.
        place: Where it is stated.

    Raises:
        ConfigError: There is no such option at this place, or the value is wrong. The message is
            one line.
    """
    option = JOB_OPTIONS.get(key)
    if option is None or place not in option.places:
        if key in _ELSEWHERE:
            raise ConfigError(_ELSEWHERE[key])
        known = [each.name for each in _OPTIONS if place in each.places]
        meant = suggest(key, known) or f": use one of {', '.join(known)}"
        raise ConfigError(f"unknown option {show(key)}{meant}")
    if key in Expectations._fields and value in (DEFAULT, NONE):
        return None if value == NONE and option.none else option.default
    if place == "command" and option.check is check_count:
        value = as_number(value)
    return option.check(key, value)


def check_options(given: Mapping[str, object], place: Place = "code") -> dict[str, Any]:
    """Check a job's options as `check_option` does; return those given.

    Durations become seconds, ``channels`` a tuple of names, ``ignore`` a tuple of types. A None
    that means "not given" is left out.
    """
    with own_modules():
        return {
            key: check_option(key, value, place)
            for key, value in given.items()
            if value is not None or key not in JOB_OPTIONS or JOB_OPTIONS[key].default is not None
        }


def resolve_job(
    given: Mapping[str, Any],
    configured: Mapping[str, Any],
    origin: Origin = "code",
    *,
    unclear: Collection[str] = (),
) -> JobConfig:
    """Return the options of a job: those ``given``, else those ``configured``, else the defaults.

    Code states everything that is expected of its job, defaults included; a command states what its
    options and the job's settings say.

    Args:
        given: The options of the decorator or the command, as `check_options` returned them.
        configured: The options in settings, likewise. One of the two must hold ``job``.
        origin: Who gives the options: ``code`` or ``command``; ``settings`` if nothing but the
            settings speaks.
        unclear: Options that were given a wrong value: no default is stated for them, and no
            schedule without its time zone, in which it would mean other times.
    """
    if "timezone" in unclear and "timezone" not in {*configured, *given}:
        configured = {name: value for name, value in configured.items() if name != "schedule"}
        given = {name: value for name, value in given.items() if name != "schedule"}
        unclear = {*unclear, "schedule"}
    usual = dict(Expectations._field_defaults) if origin == "code" else {}
    for name in unclear:
        usual.pop(name, None)
    merged: dict[str, Any] = {**_UNSTATED, **usual, **configured, **given}
    stated = tuple(
        Statement(
            name,
            merged.pop(name),
            origin if name in given or name not in configured else "settings",
        )
        for name in Expectations._fields
        if name in merged
    )
    values: Any = {name: value for name, value, _ in stated}
    return JobConfig(**merged, stated=stated, expected=Expectations()._replace(**values))
