"""What the playground answers, without a page: how a text reads at every layer, what the model
writes unsteered, steered and along a random direction, and a direction as a file.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from interp.causal.steps import Weighted, random_like, step
from interp.directions import Direction
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.direction_files import directions_in
from interp.progress import track
from interp.study.reading import Job, TextsRead, read_rows_of
from interp.study.reading.place import ReadAt, doubts_of
from interp.study.reading.texts import numbered_texts
from interp.study.reading.verbs import How
from interp.study.sentence import (
    STEERED,
    UNSTEERED,
    Manner,
    Said,
    as_rows,
    compare,
    facts,
    facts_told,
    mixed,
    say,
)
from interp.study.sources import DirectionSource, Wanted, saved_directions
from interp.study.trials import heard_once

ALONG_RANDOM = "random direction"
"""The arm whose step is as long as that of the steered one, and points anywhere."""

NOTHING_ADDED = "Nothing is added: every slider is at 0."


class Continuations(NamedTuple):
    """What was written: of each arm its text, and what that cost (`rows`, as `interp steer --json`
    has them), and what is to be known of it (`told`).
    """

    rows: list[dict[str, Any]]
    told: list[str]


@dataclass(frozen=True, eq=False)
class Desk:
    """A model, and the directions of every layer that it is read and steered along.

    `layer` is where it begins, `manner` how it writes, `battery` what the directions were fitted on
    (empty: a file that does not say).
    """

    model: LanguageModel
    wanted: Wanted
    manner: Manner
    sources: Mapping[int, DirectionSource]
    layer: int
    battery: str = ""
    _last: dict[str, Mapping[int, TextsRead]] = field(default_factory=dict, repr=False)

    @property
    def emotions(self) -> list[str]:
        """The emotions of all layers, in order."""
        found = {one for source in self.sources.values() for one in source.directions}
        return sorted(found)

    def read(self, text: str) -> Mapping[int, TextsRead]:
        """The tokens of a text at each layer. That of the last text is kept. Raises `DataError` for
        a blank text, and as `read_rows_of`.
        """
        if text not in self._last:
            rows = numbered_texts([text])
            found = {
                layer: read_rows_of(Job(self.model, read_at(source), How()), rows)
                for layer, source in self.sources.items()
            }
            self._last.clear()
            self._last[text] = found
        return self._last[text]

    def write(
        self,
        prompt: str,
        weights: Mapping[str, float],
        *,
        layer: int,
        unit: str,
        priced: bool = False,
    ) -> Continuations:
        """The prompt continued as `interp steer` does, along the directions of `layer` whose weight
        is not 0, and along a random direction as long; `priced`: with what that cost. Raises as
        `say`, of which is the error for a direction without a held-out length.
        """
        source, manner = self.source(layer), replace(self.manner, unit=unit)
        mixture = mixed(source, {one: weight for one, weight in weights.items() if weight})
        with heard_once() as heard:
            arms = (UNSTEERED, STEERED) if mixture else (UNSTEERED,)
            said = say(self.model, [prompt], mixture, manner, arms=arms)
            if mixture:
                said = self._with_random(said, prompt, mixture, manner)
            costs = compare(self.model, said, self.wanted.choices()) if priced else []
        line = facts_told(facts(self.model, source, mixture, manner)) if mixture else NOTHING_ADDED
        return Continuations(as_rows([prompt], said, costs), [line, *heard])

    def _with_random(
        self, said: Said, prompt: str, mixture: Sequence[Weighted], manner: Manner
    ) -> Said:
        seed = manner.decoding.seed
        along = [as_long_as(mixture, manner.unit, np.random.default_rng(seed))]
        other = say(self.model, [prompt], along, manner, arms=(STEERED,))
        return Said(
            said.rows,
            {**said.tokens, ALONG_RANDOM: other.tokens[STEERED]},
            {**said.texts, ALONG_RANDOM: other.texts[STEERED]},
        )

    def has_read(self, text: str) -> bool:
        """Whether the readings of this text are kept."""
        return text in self._last

    def source(self, layer: int) -> DirectionSource:
        """The directions of a layer. Raises `UsageError` for one that there are none of."""
        if layer not in self.sources:
            known = ", ".join(map(str, self.sources))
            raise UsageError(f"layer {layer}: there are directions at the layers {known}.")
        return self.sources[layer]

    def doubts(self, layer: int) -> list[str]:
        """What is to be said of this layer's directions before anything is read or written."""
        return doubts_of(self.source(layer).directions)

    def pack(self, emotion: str, layer: int, folder: Path) -> Path:
        """A direction and its card in a zip file in `folder`: unpacked, it is what
        `interp steer --direction` takes. Raises `UsageError` for an emotion or a layer that there
        is none of.
        """
        ((direction, _),) = mixed(self.source(layer), {emotion: 1.0})
        name = f"{''.join(c if c.isalnum() else '_' for c in emotion)}-{layer:02d}"
        with TemporaryDirectory() as inside:
            direction.save(Path(inside) / f"{name}.safetensors")
            return Path(shutil.make_archive(str(folder / name), "zip", inside))


def open_desk(
    model: LanguageModel, wanted: Wanted, manner: Manner, *, layer: int | None, battery: str = ""
) -> Desk:
    """The desk of a model, with the directions of every layer: kept ones, or fitted now, once.
    Raises as `Wanted.source`.
    """
    first = wanted.source(model, layer)
    others = [at for at in fitted_layers(wanted, model.dims.n_layers) if at != first.layer]
    found = {first.layer: first}
    for at in track(others, "directions of the other layers", unit="layer"):
        found[at] = wanted.source(model, at)
    return Desk(model, wanted, manner, dict(sorted(found.items())), first.layer, battery)


def fitted_layers(wanted: Wanted, n_layers: int) -> list[int]:
    """The layers at which there are directions, or can be."""
    if wanted.direction is not None:
        return sorted({one.site.layer for one in directions_in(wanted.direction)})
    if wanted.run is not None:
        return sorted({one.site.layer for one in saved_directions(wanted.run)})
    return list(range(n_layers))


def read_at(source: DirectionSource) -> ReadAt:
    """Those directions as a place where texts are read."""
    site = next(iter(source.directions.values())).site
    told = f"{source.told}; {site.name} at layer {source.layer} ({source.layer_told})"
    return ReadAt(source.directions, site, told, tuple(doubts_of(source.directions)))


def as_long_as(mixture: Sequence[Weighted], unit: str, rng: np.random.Generator) -> Weighted:
    """A random direction, and the weight at which its step is as long as that of the mixture."""
    one = mixture[0][0]
    total = np.sum([weight * step(each, unit) for each, weight in mixture], axis=0)
    vector = random_like(one.vector[None].astype(np.float64), rng)[0]
    drawn: Direction = replace(one, vector=vector, labels=(ALONG_RANDOM, one.labels[1]))
    length = float(np.linalg.norm(step(drawn, unit)))
    return drawn, float(np.linalg.norm(total)) / length


def by_layer(desk: Desk, read: Mapping[int, TextsRead]) -> pd.DataFrame:
    """The shares of one text as a tidy table: a row for each layer, token and emotion, with the
    emotion's share (`value`; NaN where there is none). `sure`: whether the direction's natural
    length there is surely above zero; a share in any other unit may be anything.
    """
    rows: list[dict[str, Any]] = []
    for layer, one in read.items():
        for record in one.frame.to_dict("records"):
            about = {"layer": layer, "token": record["token"], "piece": record["piece"]}
            rows += [
                {
                    **about,
                    "emotion": emotion,
                    "value": record[f"share_{emotion}"],
                    "sure": direction.length_interval[0] > 0,
                }
                for emotion, direction in one.place.directions.items()
            ]
    same: dict[str, Any] = {"model": desk.model.name, "battery": desk.battery, "n": 1}
    return pd.DataFrame(rows).assign(**same, ci_low=np.nan, ci_high=np.nan)
