"""Pictures: the figures of a results folder, each as one piece of text that a page can hold."""

import base64
from dataclasses import dataclass
from pathlib import Path

from interp.reporting.figures import FIGURES


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure in the page: its text alternative, how to read it, and its image as a data address
    (empty: not drawn).
    """

    name: str
    alt: str
    reading: str
    source: str


def read_pictures(folder: Path) -> dict[str, Picture]:
    """The figures of a folder; only those that `FIGURES` names, as images, in which a browser runs
    nothing.
    """
    found = {}
    for name, drawing in FIGURES.items():
        path = folder / f"{name}.svg"
        if path.is_file():
            source = "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode(
                "ascii"
            )
            told = " ".join(f"{drawing.draw.__doc__}".split("\n\n")[0].split())
            alt = f"Figure of the stage {drawing.table}. {told}"
            found[name] = Picture(name, alt, drawing.reading, source)
    return found
