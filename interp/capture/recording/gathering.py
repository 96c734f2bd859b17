"""What batches give: the activations of some texts, and the room in which those of a whole shard
are gathered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from interp.capture.plan import Plan
from interp.capture.store.shard import Shard, is_ragged
from interp.errors import InternalError


@dataclass
class Recorded:
    """What some texts gave: their places, arrays by `SITE/POSITION`, shapes of batches really run,
    items refused.

    `reused` are the ids of items that were copied from earlier captures, `sources` the digests of
    those captures' plans.
    """

    places: list[int]
    arrays: dict[str, np.ndarray]
    shapes: list[tuple[int, int]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


class Gathering:
    """Room for the activations of the texts at `places` of a plan; `add` fills it, `shard` gives
    what is there.

    The room is one block of memory, taken when the first texts come. Small arrays kept one by one,
    between the large tensors of the forward passes, would keep the memory of those from being used
    again: 0.3 GB on GPT-2's shape.
    """

    def __init__(self, plan: Plan, places: Sequence[int]) -> None:
        self.places: list[int] = []
        self.shapes: list[tuple[int, int]] = []
        self.refused: list[dict[str, Any]] = []
        self.reused: list[str] = []
        self.sources: list[str] = []
        self._plan = plan
        self._room = {
            False: len(places),
            True: sum(len(plan.texts[place].tokens) for place in places),
        }
        self._filled = {False: 0, True: 0}
        self._arrays: dict[str, np.ndarray] = {}

    def add(self, recorded: Recorded) -> None:
        """Take over what some more of the texts gave."""
        rows = {
            False: len(recorded.places),
            True: sum(len(self._plan.texts[place].tokens) for place in recorded.places),
        }
        self._arrays = self._arrays or self._take_room(recorded.arrays)
        wrong = {
            name for name, array in recorded.arrays.items() if len(array) != rows[is_ragged(name)]
        }
        if wrong := wrong | (self._arrays.keys() ^ recorded.arrays.keys()):
            raise InternalError(
                f"{', '.join(sorted(wrong)[:5])}: a batch gave another number of rows than it "
                "has texts or tokens."
            )
        for name, array in recorded.arrays.items():
            start = self._filled[is_ragged(name)]
            self._arrays[name][start : start + len(array)] = array
        self._filled = {ragged: self._filled[ragged] + rows[ragged] for ragged in rows}
        self.places += recorded.places
        self.shapes += recorded.shapes
        self.refused += recorded.refused
        self.reused += recorded.reused
        self.sources += [source for source in recorded.sources if source not in self.sources]

    def shard(self) -> Shard:
        """What was gathered, with the tokens of its texts and where the pooled rules looked."""
        texts = [self._plan.texts[place] for place in self.places]
        lengths = np.array([len(text.tokens) for text in texts], dtype=np.int64)
        tokens = np.concatenate([np.array(text.tokens, dtype=np.int32) for text in texts])
        starts = np.cumsum(lengths) - lengths
        chosen = {}
        for number, rule in enumerate(rule for rule in self._plan.positions if rule.pooled):
            marks = chosen[str(rule)] = np.zeros(len(tokens), dtype=np.int8)
            for start, text in zip(starts, texts, strict=True):
                marks[start + text.selected[number]] = 1
        arrays = {
            name: array[: self._filled[is_ragged(name)]] for name, array in self._arrays.items()
        }
        return Shard(np.array(self.places, dtype=np.int64), lengths, arrays, tokens, chosen)

    def _take_room(self, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """An array for all texts per name, side by side in one block."""
        shapes = {
            name: (self._room[is_ragged(name)], *array.shape[1:]) for name, array in like.items()
        }
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
        pieces = np.split(np.empty(ends[-1], dtype=np.float32), ends[:-1])
        return {
            name: piece.reshape(shape)
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }
