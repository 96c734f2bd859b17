"""What the page answers to what was set on it, as pieces of the page: the same for any page.

Where something cannot be done, its piece says why.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from interp.errors import InterpError
from interp.play.desk import Desk
from interp.play.pieces import side_by_side_texts, token_pictures, told_error, told_lines


class ReadPieces(NamedTuple):
    """The tokens of a text at the chosen layer, and the pictures of all layers."""

    tokens: str
    pictures: str


class Answers:
    """The answers of a desk, one at a time: a model does one thing at a time. Files to download are
    written into `folder`.
    """

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        self.folder = folder
        self._lock = Lock()

    def doubts(self, layer: int) -> str:
        """Where the directions of a layer are from, and what is to be known of them."""
        source = self.desk.source(layer)
        about = f"Directions: {source.told}. Layer {layer}: {source.layer_told}."
        return told_lines([about, *self.desk.doubts(layer)])

    def can_steer(self, layer: int) -> dict[str, bool]:
        """Of each emotion, whether its direction at this layer has a step to steer by."""
        there = self.desk.source(layer).directions
        return {one: one in there and there[one].length > 0 for one in self.desk.emotions}

    def write(self, text: str, layer: int, unit: str, priced: bool, *weights: float | int) -> str:
        """The texts side by side, and what they cost where that is asked (`priced`); `weights` are
        those of the desk's emotions, in order.
        """
        asked = dict(zip(self.desk.emotions, map(float, weights), strict=True))

        def texts() -> str:
            found = self.desk.write(text, asked, layer=layer, unit=unit, priced=priced)
            return side_by_side_texts(found)

        return self._answered(texts)

    def read(self, text: str, layer: int, emotion: str) -> ReadPieces:
        """The text, read."""

        def tokens() -> str:
            found = self.desk.read(text)
            return found[self.desk.source(layer).layer].html(page=False)

        shown = self._answered(tokens)
        if not self.desk.has_read(text):
            return ReadPieces(shown, "")
        return ReadPieces(shown, self._answered(lambda: token_pictures(self.desk, text, emotion)))

    def read_again(self, text: str, layer: int, emotion: str) -> ReadPieces:
        """The text at another layer, if it is the one that was read."""
        return self.read(text, layer, emotion) if self.desk.has_read(text) else ReadPieces("", "")

    def file(self, emotion: str, layer: int) -> Path | None:
        """The direction as a file; None where there is none at this layer."""
        if emotion not in self.desk.source(layer).directions:
            return None
        with self._lock:
            return self.desk.pack(emotion, layer, self.folder)

    def _answered(self, answer: Callable[[], str]) -> str:
        try:
            with self._lock:
                return answer()
        except InterpError as error:
            return told_error(error)
