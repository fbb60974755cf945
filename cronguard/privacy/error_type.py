"""The name of an error's class, as long as it is a name that somebody wrote in a program."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from typing import Any

_MAX_LENGTH = 160
_name: Any = type.__dict__["__qualname__"].__get__
_module: Any = type.__dict__["__module__"].__get__
_mro: Any = type.__dict__["__mro__"].__get__


def error_type(error: BaseException) -> str:
    """Return the bare name for builtins (``ValueError``), else ``module.QualName``.

    A class made at run time can be called anything, a person's name included. If the name leads
    nowhere in its module and is not made of known technical words, the nearest base class with a
    trustworthy name stands in.
    """
    for kind in _mro(type(error)):
        if name := _trusted_name(kind):
            return name
    return "BaseException"


def _trusted_name(kind: type) -> str | None:
    name, module = str.__str__(_name(kind)), _module(kind)
    if type(module) is not str or len(name) + len(module) > _MAX_LENGTH:
        return None
    if module == "builtins":
        return name if vars(builtins).get(name) is kind else None
    home = sys.modules.get(module)
    if home is None or not _is_dotted(module):
        return None
    plain = name.replace("<locals>.", "")
    if not _is_dotted(plain):
        return None
    if _leads_to(vars(home), name, kind) or _is_technical(plain):
        return f"{module}.{name}"
    return None


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _leads_to(names: Mapping[str, object], path: str, kind: type) -> bool:
    """Tell whether following the qualified name ends at the class."""
    found: object = None
    for step in path.split("."):
        found = names.get(step)
        names = vars(found) if isinstance(found, type) else {}
    return found is kind


def _is_technical(name: str) -> bool:
    """For classes that functions make, such as botocore's ``NoSuchKey``."""
    from cronguard.privacy.vocabulary import vocabulary  # hardly ever needed

    return all(vocabulary().knows_name(part) for part in name.split("."))
