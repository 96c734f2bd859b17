"""A model asked part by part, from names to files: whole layers knocked out, directions ablated,
heads and neurons ablated and enhanced, what heads look at, and the logit lens.

Directions and ranks are of one half of the scenarios; all rows are of the other.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

import stimuli
from interp.analysis.emotion_directions import fit_emotion, origin_of, usual_layer
from interp.capture import ActivationStore, capture
from interp.causal.ablation import ablating, enhance
from interp.causal.bench import Bench
from interp.causal.contributions import KINDS, Component, EmotionTwins, order_components
from interp.causal.direction_ablation import DirectionTrial, ablate_directions
from interp.causal.keywords import keyword_rows, keywords_of
from interp.causal.layer_knockout import LayerTrial, knock_out_layers
from interp.causal.lens import lens_rows
from interp.causal.ranked_parts import Counts, ranked_loss_rows, ranked_rows
from interp.causal.readout import Readout
from interp.common_options import split
from interp.directions import Direction
from interp.dissection_options import DissectionOptions
from interp.errors import StatisticsError, UsageError
from interp.evaluation.readouts import readout_for
from interp.files import check_new
from interp.models import LanguageModel
from interp.models.checks.reliance import tell_refused, usable
from interp.results import TableRows
from interp.sites import LAST, STREAM, Site
from interp.study.trials import Tried, try_out
from interp.study.twins import finite_pairs, ordered_pairs
from stimuli.battery import Battery, Pairs
from stimuli.splits import balanced


class Dissected:
    """A model on the table: its pairs, those that choose and those that are reported, what was read
    of the choosing ones, and the benches of the others.
    """

    def __init__(self, model: LanguageModel, battery: Battery, asked: DissectionOptions) -> None:
        self.model, self.battery, self.asked = model, battery, asked
        self.emotions = asked.emotions or battery.pairs().emotions
        self.layer = usual_layer(model.dims.n_layers) if asked.layer is None else asked.layer
        model.block(self.layer)  # refuses one that the model lacks
        self.readout: Readout = readout_for(model, self.emotions)
        bound = self.readout.bind(model)
        for emotion in self.emotions:
            bound.column(emotion)
        mine = [one for one in ordered_pairs(battery) if one.affective.emotion in self.emotions]
        self.choosing, reported = Pairs(mine).split(seed=asked.seed)
        self.reported = balanced(reported, n=asked.pairs * len(self.emotions), seed=asked.seed)

    @cached_property
    def _store(self) -> ActivationStore:
        """What is read of the choosing half: the stream, and what heads and neurons hold."""
        layers = range(self.model.dims.n_layers)
        parts = [Site(name, layer) for layer in layers for name in KINDS.values()]
        sites, refused = usable(self.model, "contributions", parts)
        if refused:
            warnings.warn(tell_refused(refused), stacklevel=2)
        stream = dict.fromkeys([Site(STREAM, self.layer), Site(STREAM, layers[-1])])
        texts = {item.id: item for pair in self.choosing for item in pair}
        kept = Battery(self.battery.name, tuple(texts.values()))
        return capture(self.model, kept, sites=[*stream, *sites], positions=(LAST,))

    @cached_property
    def _pairs(self) -> Pairs:
        """The choosing pairs whose activations are finite."""
        kept = tuple({item.id: item for pair in self.choosing for item in pair}.values())
        return finite_pairs(self._store, Battery(self.battery.name, kept))

    def bench(self, layer: int) -> Bench:
        """The bench of the reported pairs, with directions of the stream after this layer."""
        site = Site(STREAM, layer)
        found = {emotion: self._direction(emotion, site) for emotion in self.emotions}
        return Bench(self.model, self.reported, found, self.readout)

    @cached_property
    def final(self) -> Bench:
        """The bench whose directions are read behind every layer."""
        return self.bench(self.model.dims.n_layers - 1)

    def orders(self) -> dict[str, dict[str, list[Component]]]:
        """All heads and all neurons of each emotion, as the choosing half ranks them: by kind, then
        by emotion. A kind that this model does not show is left out.
        """
        store, pairs = self._store, self._pairs
        row_of = {item: row for row, item in enumerate(store.items)}
        sites = [site for site in store.sites if site.name in KINDS.values()]
        activations = {site: store.read(site).x for site in sites}
        found: dict[str, dict[str, list[Component]]] = {kind: {} for kind in KINDS}
        for emotion, direction in self.final.directions.items():
            mine = pairs.of(emotion)
            items = np.array([[row_of[item.id] for item in pair] for pair in mine])
            twins = EmotionTwins(emotion, items, mine.groups)
            ranked = order_components(self.model, activations, twins, direction)
            for kind, order in ranked.items():
                found[kind] |= {emotion: order} if order else {}
        return {kind: order for kind, order in found.items() if order}

    def _direction(self, emotion: str, site: Site) -> Direction:
        mine = self._pairs.of(emotion)
        if not mine:
            raise StatisticsError(f"no pair of {emotion!r} is left to fit its direction on.")
        origin = origin_of(
            self.model.provenance, battery=self.battery.sha256, position=self._store.positions[0]
        )
        twins = self._store.read(site).twins(mine)
        return fit_emotion(twins, site=site, emotion=emotion, groups=mine.groups, origin=origin)


def _layers(bed: Dissected) -> TableRows:
    asked = bed.asked
    draws = max(1, asked.draws // 5)
    return knock_out_layers(
        bed.final, LayerTrial(mode=asked.ablate_with, n_draws=draws, seed=asked.seed)
    )


def _directions(bed: Dissected) -> TableRows:
    trial = DirectionTrial((bed.layer,), n_draws=bed.asked.draws, seed=bed.asked.seed)
    return ablate_directions(bed.bench(bed.layer), trial)


def _parts(bed: Dissected) -> TableRows:
    asked = bed.asked
    counts = Counts(asked.ks, asked.draws, asked.seed, bottom=True)
    orders, aim = list(bed.orders().values()), ablating(asked.ablate_with)
    if not orders:
        raise UsageError(f"{bed.model.name} shows neither heads nor neurons: ask without parts.")
    return [
        *ranked_rows(bed.final, orders, aim, counts),
        *ranked_loss_rows(bed.final, orders, aim, counts),
        *enhance(bed.final, *orders, way=asked.enhance_by, factor=asked.factor, counts=counts),
    ]


def _attention(bed: Dissected) -> TableRows:
    function = {**stimuli.lexicon("function_words"), **stimuli.lexicon("negations")}
    words = keywords_of(stimuli.lexicon("emotions"), function)
    return keyword_rows(bed.model, bed.reported, words)


def _lens(bed: Dissected) -> TableRows:
    return lens_rows(bed.final)


class Dissection(NamedTuple):
    """A question: the table of its answer, and what measures it."""

    table: str
    measure: Callable[[Dissected], TableRows]


DISSECTIONS: Mapping[str, Dissection] = {
    "layers": Dissection("knockout", _layers),
    "directions": Dissection("direction_ablation", _directions),
    "parts": Dissection("parts", _parts),
    "attention": Dissection("attention", _attention),
    "lens": Dissection("lens", _lens),
}
"""The questions by their names."""


def run_dissection(asked: DissectionOptions) -> dict[str, pd.DataFrame]:
    """Ask a model part by part, and fill the folder `asked.out`; its tables, by name.

    Raises `ArtefactError` where the folder holds something, `UsageError` for an emotion without
    twins or words, a layer that the model lacks, and a model that does not show what is asked for;
    and as the methods do.
    """
    check_new(asked.out)
    battery = stimuli.load(asked.stimuli)
    known = battery.pairs().emotions
    lacking = [emotion for emotion in asked.emotions if emotion not in known]
    if lacking or not known:
        raise UsageError(
            f"{', '.join(lacking) or 'the battery'} has no twins; of {battery.name!r} "
            f"{', '.join(known) or 'no emotion'} has."
        )
    named = [DISSECTIONS[name] for name in (split(asked.ask) if asked.ask else DISSECTIONS)]

    def measure(model: LanguageModel) -> Tried:
        bed = Dissected(model, battery, asked)
        return {one.table: one.measure(bed) for one in named}

    return try_out((asked,), battery, measure, template=None)
