"""Libraries whose inside interp reaches into: the versions that are here, and those that were
tried.

A library can move what lies inside it from one day to the next. The bounds stand in pyproject.toml,
whose upper ends are the newest versions that passed `scripts/test --newest`; they are read back
from the installed package, so that they are written once.
"""

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import interp
from interp.errors import ArtefactError

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


def told_as_versions(error: Exception) -> ArtefactError | None:
    """What to say of an error which no error of ours foresaw, where a library is installed in a
    version that was not tried; None where all are those that were.
    """
    if not (strange := untried()):
        return None
    what = " ".join(str(error).split())[:200]
    return ArtefactError(
        f"interp was not tried with {', '.join(strange)}, and fails with it "
        f"({type(error).__name__}: {what}). Installed: {installed()}; known to work: {tried()}. "
        f"Run: {remedy()}"
    )


def _version(name: str) -> str:
    return metadata.version(name)


@cache
def _bounds() -> dict[str, Requirement]:
    """The requirement of each library, as the package `emotion-interp` states it; as its sources
    state it where interp was not installed.
    """
    try:
        lines = metadata.requires("emotion-interp") or []
    except metadata.PackageNotFoundError:
        lines = _of_sources()
    stated = map(Requirement, lines)
    return {one.name: one for one in stated if one.name in REACHED_INTO and one.marker is None}


def _of_sources() -> list[str]:
    path = Path(interp.__file__).parents[1] / "pyproject.toml"
    if not path.is_file():
        return []
    return list(tomllib.loads(path.read_text("utf-8"))["project"]["dependencies"])
