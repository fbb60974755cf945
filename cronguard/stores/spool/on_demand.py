"""A host's spool that is there once something had to be kept: most hosts never need one."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cronguard.stores.spool.database import Spool


class SpoolOnDemand:
    """The spool at ``path``; neither file nor database library is touched before it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def made(self) -> Spool:
        """The spool, to keep something in."""
        from cronguard.stores.spool.database import Spool

        return Spool(self.path)

    @property
    def found(self) -> Spool | None:
        """The spool if there is one."""
        return self.made if os.path.lexists(self.path) else None

    def close(self) -> None:
        """Let go of the file."""
        if "made" in self.__dict__:
            self.made.close()
