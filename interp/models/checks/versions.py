"""Libraries whose inside interp reaches into: the versions that are here, and those that were
tried.

A library can move what lies inside it from one day to the next. The bounds stand in pyproject.toml,
whose upper ends are the newest versions that passed `scripts/test --newest`; they are read back
from the installed package, so that they are written once.
"""

from functools import cache
from importlib import metadata

from packaging.requirements import Requirement

REACHED_INTO = ("transformers", "transformer-lens")


def installed() -> str:
    """The installed versions, as one phrase for a message."""
    return ", ".join(f"{name} {_version(name)}" for name in REACHED_INTO)


def tried() -> str:
    """The versions that interp was tried with, as one phrase for a message."""
    return (
        ", ".join(f"{name} {bounds.specifier}" for name, bounds in _bounds().items()) or "unknown"
    )


def untried() -> list[str]:
    """Those libraries that are installed in a version that interp was not tried with."""
    return [
        f"{name} {_version(name)}"
        for name, bounds in _bounds().items()
        if not bounds.specifier.contains(_version(name), prereleases=True)
    ]


def remedy() -> str:
    """The command that installs versions which were tried."""
    wanted = " ".join(f'"{name}{bounds.specifier}"' for name, bounds in _bounds().items())
    return f"pip install {wanted}"


def _version(name: str) -> str:
    return metadata.version(name)


@cache
def _bounds() -> dict[str, Requirement]:
    """The requirement of each library, as the package `emotion-interp` states it; none where interp
    is run from a folder of sources without having been installed.
    """
    try:
        stated = [Requirement(line) for line in metadata.requires("emotion-interp") or []]
    except metadata.PackageNotFoundError:
        return {}
    return {one.name: one for one in stated if one.name in REACHED_INTO and one.marker is None}
