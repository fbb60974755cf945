"""A text and, character by character, what was decided about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cronguard._mask import MASK

UNKNOWN, KEPT, MASKED = 0, 1, 2

_MASKED_RUN = re.compile(rb"\x02+")

_GLUED = frozenset("/\\@+#~$%&*_-")
_ABSORBED = frozenset(" \t,.-/@&+_#\\\u2013—")


class Canvas:
    """Where the parts of the engine write down which characters to keep and which to mask."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._state = bytearray(len(text))

    def keep(self, start: int, end: int) -> None:
        """Show these characters."""
        self._state[start:end] = bytes((KEPT,)) * (end - start)

    def mask(self, start: int, end: int) -> None:
        """Do not show these characters."""
        self._state[start:end] = bytes((MASKED,)) * (end - start)

    def is_open(self, start: int, end: int) -> bool:
        """Whether nothing has been decided about any of these characters."""
        return not any(self._state[start:end])

    def gaps(self) -> Iterator[tuple[int, int]]:
        """The stretches about which nothing has been decided yet."""
        start = self._state.find(UNKNOWN)
        while start >= 0:
            end = start
            while end < len(self._state) and self._state[end] == UNKNOWN:
                end += 1
            yield start, end
            start = self._state.find(UNKNOWN, end)

    def shown(self) -> str:
        """The text with one mask for each masked stretch. Signs left undecided are shown."""
        text = self.text
        pieces: list[str] = []
        at = 0
        for run in _MASKED_RUN.finditer(self._state):
            start, end = self._widened(*run.span())
            between = text[at:start] if at < start else ""
            if not (pieces and self._is_absorbed(at, start)):
                pieces += [between, MASK]
            at = max(at, end)
        pieces.append(text[at:])
        return "".join(pieces)

    def _widened(self, start: int, end: int) -> tuple[int, int]:
        """A mask takes in the signs that cling to it, such as the slash of a path."""
        text, state = self.text, self._state
        while start > 0 and state[start - 1] == UNKNOWN and text[start - 1] in _GLUED:
            start -= 1
        while end < len(text) and state[end] == UNKNOWN and text[end] in _GLUED:
            end += 1
        return start, end

    def _is_absorbed(self, start: int, end: int) -> bool:
        """Whether what stands between two masks says no more than that they are two."""
        if start >= end:
            return True
        between = self.text[start:end]
        return self.is_open(start, end) and (between == ":" or _ABSORBED.issuperset(between))
