"""What is installed is what the lock names, and the lock is what pyproject.toml asks for."""

import subprocess
import sysconfig
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OF_THE_VENV = {"pip"}
OURS = "emotion-interp"


def locked() -> dict[str, str]:
    """The packages of the lock that this Python and machine want, as `name: version`."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    stated = [Requirement(line) for line in lines if line and not line.startswith("#")]
    wanted = [one for one in stated if one.marker is None or one.marker.evaluate()]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in wanted}


def installed() -> dict[str, str]:
    """What is installed here. A version's local part (the `+cpu` of torch) is no part of it, and
    what a package carries inside it for itself (as ray does) is not installed.
    """
    places = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    here = metadata.distributions(path=places)
    found = {canonicalize_name(one.metadata["Name"]): one.version for one in here}
    return {name: version.split("+")[0] for name, version in found.items()}


def test_every_installed_package_is_in_the_lock_at_its_version():
    lock, here = locked(), installed()
    strangers = {name: version for name, version in here.items() if lock.get(name) != version}
    assert strangers.keys() <= {OURS} | OF_THE_VENV, strangers


def test_every_package_of_the_lock_is_installed():
    assert not locked().keys() - installed().keys()


def test_no_cuda_package_is_locked():
    names = (ROOT / "requirements.lock").read_text().lower()
    assert not [word for word in ("nvidia", "cuda", "triton") if word in names]


def test_the_lock_meets_every_bound_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    lock = locked()
    for one in map(Requirement, stated):
        assert one.specifier.contains(lock[canonicalize_name(one.name)]), (
            f"{one}: run ./scripts/lock"
        )


def test_libraries_whose_inside_is_used_have_an_upper_bound_at_the_lock():
    from interp.models.checks.versions import REACHED_INTO

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"], *project["optional-dependencies"]["gguf"]]
    bounds = {one.name: one.specifier for one in reversed([*map(Requirement, stated)])}
    lock = locked()
    for name in (*REACHED_INTO, "gguf"):
        assert f"<={lock[name]}" in str(bounds[name])


def test_nothing_of_the_packages_is_kept_out_of_the_wheel():
    """The builder leaves out what `.gitignore` names, a tracked file too."""
    words = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard", "interp", "stimuli"]
    told = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    assert told.stdout == ""
