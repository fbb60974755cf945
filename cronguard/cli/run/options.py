"""What stands before ``--``: read so that a mistake in it keeps no command from running.

What is right is used; each fault is one line. An option that there is not takes the word after it
with it, unless that leaves none for JOB.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from cronguard.cli.output.lines import print_error
from cronguard.core.errors import ConfigError
from cronguard.core.text import show, suggest
from cronguard.settings.options import JOB_OPTIONS, check_option

_LEFT_OUT = "it is left out, and the command runs"
_TIMEZONE = "--timezone"
_UNRECORDED = "the command runs, but is not recorded"


class RightArguments:
    """The arguments of a command, put right: `words` is what click can parse."""

    def __init__(self, params: Sequence[click.Parameter], given: Sequence[str]) -> None:
        """Read what was given, and print a line for each fault."""
        self._options = {
            name: param
            for param in params
            if isinstance(param, click.Option)
            for name in (*param.opts, *param.secondary_opts)
        }
        self._left = list(given)
        self._jobs: list[str] = []
        self.words: list[str] = []
        self.unclear: frozenset[str] = frozenset()
        """Options whose value is wrong, and of which what settings say is not meant either."""
        self._has_schedule = any(each.partition("=")[0] == "--schedule" for each in given)
        while self._left:
            self._take(self._left.pop(0))
        self._take_job()

    def _take(self, word: str) -> None:
        if not word.startswith("-") or word == "-":
            self._jobs.append(word)
            return
        name, has_value, value = word.partition("=")
        option = self._options.get(name)
        if option is None:
            self._leave_out_unknown(name, has_value=bool(has_value))
        elif option.is_flag or option.is_eager:
            if has_value:
                print_error(f"{name} takes no value: {_LEFT_OUT}")
            else:
                self.words.append(name)
        elif not has_value and (not self._left or self._left[0] in self._options):
            print_error(f"{name} needs a value: {self._leave_out(name, 'it')}")
        else:
            self._take_value(name, option, value if has_value else self._left.pop(0))

    def _take_value(self, name: str, option: click.Option, value: str) -> None:
        key = option.name or ""
        try:
            if key in JOB_OPTIONS:
                check_option(key, value, "command")
        except ConfigError as error:
            print_error(f"{error}; {self._leave_out(name, name)}")
        else:
            self.words.append(f"{name}={value}")

    def _leave_out_unknown(self, name: str, *, has_value: bool) -> None:
        meant = suggest(name, [each for each in self._options if each.startswith("--")])
        fate = self._leave_out(_TIMEZONE if repr(_TIMEZONE) in meant else name, "it")
        print_error(f"there is no option {show(name)}{meant}: {fate}; see cronguard run --help")
        if has_value or not self._left or _looks_like_option(self._left[0]):
            return
        if self._jobs or any(not _looks_like_option(word) for word in self._left[1:]):
            del self._left[0]

    def _leave_out(self, name: str, said: str) -> str:
        """Leave out an option, called ``said``, and return that as a part of a sentence.

        A schedule is left out with its time zone, since it would mean other times in another one.
        """
        if name == _TIMEZONE:
            self.unclear |= {"timezone"}
            if self._has_schedule:
                return f"{said} and --schedule are left out, and the command runs"
        return f"{said} is left out, and the command runs"

    def _take_job(self) -> None:
        if not self._jobs:
            print_error(
                "no job name stands before the two dashes, as in cronguard run nightly -- COMMAND:"
                f" {_UNRECORDED}"
            )
            return
        job, *more = self._jobs
        for word in more:
            print_error(f"{show(word)} has no place before the two dashes: {_LEFT_OUT}")
        try:
            check_option("job", job)
        except ConfigError as error:
            print_error(f"{error}; {_UNRECORDED}")
        else:
            self.words += ["--", job]


def _looks_like_option(word: str) -> bool:
    """Tell options from words, and from numbers below 0."""
    return word.startswith("-") and not word[1:2].isdigit()
