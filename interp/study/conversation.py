"""A conversation with a steered chat model: what is said is kept, and a line that begins with a
slash changes how the next turn is written.
"""

import difflib
from typing import Any

from interp.errors import InterpError, UsageError
from interp.models import LanguageModel
from interp.study.sentence import STEERED, UNSTEERED, Manner, mixed, read_mixture, say
from interp.study.sources import DirectionSource, Wanted

HELP = "/EMOTION NUMBER steers there, /off no more, /layer NUMBER changes the layer, /quit ends."


class Conversation:
    """Turns of a person and of `model`, which writes in `manner` under the directions of `wanted`.

    `weights` says how many times each emotion's step is added; directions are fetched when one is
    first needed. `over` is True after /quit.
    """

    def __init__(
        self, model: LanguageModel, wanted: Wanted, manner: Manner, *, layer: int | None = None
    ) -> None:
        self.model = model
        self.wanted = wanted
        self.manner = manner
        self.layer = layer
        self.weights: dict[str, float] = {}
        self.messages: list[dict[str, str]] = []
        self.over = False
        self._source: DirectionSource | None = None

    def hear(self, line: str) -> str:
        """The answer to a line: the model's turn, or what a command did. A line that cannot be
        answered is told why, and is not kept.
        """
        try:
            return self._obey(line[1:].split()) if line.startswith("/") else self._answer(line)
        except InterpError as error:
            return f"({error})"

    def _answer(self, line: str) -> str:
        asked: list[dict[str, str]] = [*self.messages, {"role": "user", "content": line}]
        mixture = mixed(self._directions(), self.weights) if self.weights else []
        arm = STEERED if mixture else UNSTEERED
        said = say(self.model, [asked], mixture, self.manner, arms=[arm])
        (text,) = said.texts[arm]
        if text.strip():
            self.messages = [*asked, {"role": "assistant", "content": text.strip()}]
            return text.strip()
        return "(the model wrote nothing; the turn is not kept)"

    def _obey(self, words: list[str]) -> str:
        if words == ["quit"]:
            self.over = True
            return "(bye)"
        if words == ["off"]:
            self.weights = {}
            return "(no emotion)"
        if len(words) == 2 and words[0] == "layer":
            return self._turn_to(words[1])
        if len(words) == 2:
            (found,) = read_mixture("=".join(words)).items()
            self.wanted.check([found[0]])
            self.weights = {**self.weights, found[0]: found[1]}
            return f"({_told(self.weights)})"
        near = difflib.get_close_matches(" ".join(words[:1]), ["quit", "off", "layer"], n=1)
        raise UsageError(f"cannot do that{f'; did you mean /{near[0]}?' if near else ''} {HELP}")

    def _turn_to(self, number: str) -> str:
        if not number.isascii() or not number.isdecimal():
            raise UsageError(f"{number!r} is no layer: write its number, such as /layer 18.")
        source = self.wanted.source(self.model, int(number))
        self.layer, self._source = source.layer, source
        return f"(layer {source.layer})"

    def _directions(self) -> DirectionSource:
        if self._source is None:
            self._source = self.wanted.source(self.model, self.layer)
        return self._source


def _told(weights: dict[str, Any]) -> str:
    return ", ".join(f"{one} {weight:g}" for one, weight in weights.items())
