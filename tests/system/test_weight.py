"""What installing cronguard without extras puts on a machine."""

from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cronguard
from cronguard.core.install import DISTRIBUTION

PACKAGES, BYTES = 11, 10_000_000


def installed(name, found):
    """The distribution and, without extras, all that it needs, by name."""
    name = canonicalize_name(name)
    if name not in found:
        found[name] = distribution(name)
        for line in found[name].requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                installed(wanted.name, found)
    return found


def size(files):
    """In bytes, with as much again for what Python compiles of each module."""
    return sum(
        file.stat().st_size * (2 if file.suffix == ".py" else 1)
        for file in files
        if file.suffix != ".pyc" and file.is_file()
    )


def test_the_base_install_is_light():
    """Eleven packages and ten megabytes, cronguard among them."""
    found = installed(DISTRIBUTION, {})
    assert len(found) <= PACKAGES, sorted(found)
    del found[DISTRIBUTION]  # perhaps a mere link to where this is
    weights = {
        name: size(Path(each.locate_file(file)) for file in each.files or ())
        for name, each in found.items()
    }
    weights[DISTRIBUTION] = size(Path(cronguard.__file__).parent.rglob("*"))
    assert all(weights.values()), weights
    assert sum(weights.values()) <= BYTES, weights
