"""The stage `circuit`: the circuit of each emotion, found on one half of the scenarios and measured
on the other; and the same for `interp.circuit` and `interp circuit`, which have no study.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.capture import capture
from interp.causal.allocation import split_budget, usual_budget
from interp.causal.circuit import Circuit, save_circuits
from interp.causal.circuits import (
    Searched,
    bench_of,
    circuit_sites,
    optimal_circuit,
    scored_circuit,
    search,
    search_rows,
)
from interp.causal.contributions import EmotionTwins
from interp.causal.faithfulness import ORDERS, FaithfulnessTrial
from interp.causal.faithfulness_rows import faithfulness_rows
from interp.causal.overlap import overlap_rows
from interp.causal.readout import Readout
from interp.chance import draws_for
from interp.errors import StatisticsError
from interp.evaluation.readouts import readout_for
from interp.files import make_folder
from interp.memory import give_freed_memory_back
from interp.models import LanguageModel
from interp.progress import track
from interp.results import TableRows
from interp.sites import LAST, Site
from interp.study.folder import Study
from interp.study.twins import finite_pairs
from stimuli.battery import Battery, Pairs
from stimuli.splits import balanced

CIRCUITS = "circuits.json"
"""The file that a study leaves in its folder `circuits`."""

PAIRS = 8
"""Pairs per emotion on which a circuit is measured, where no preset says how many."""

FEWEST_KEPT = 12
"""Pairs of all emotions together, at least: a ratio of few scenarios has no interval."""


class Material(NamedTuple):
    """What circuits are found in: a model, twins, what each site holds at the texts' last tokens,
    each text's row in that, the words, the battery's digest, and the seed.
    """

    model: LanguageModel
    pairs: Pairs
    values: Callable[[Site], Float[np.ndarray, "item ..."]]
    row_of: Mapping[str, int]
    readout: Readout
    battery: str
    seed: int

    @property
    def halves(self) -> tuple[Pairs, Pairs]:
        """The pairs that choose, and those that are reported."""
        return self.pairs.split(seed=self.seed)


def circuit(study: Study) -> TableRows:
    """The circuit of each emotion that the model has words for, its faithfulness, and how far the
    circuits overlap. The circuits are written to `circuits/`.

    Raises `StatisticsError` where no emotion has one.
    """
    limits, seed = study.settings.limits, study.settings.seed
    material = Material(
        study.model,
        study.pairs,
        lambda site: study.values(site, study.position),
        study.row_of,
        study.readout.readout,
        study.battery.sha256,
        seed,
    )
    searched = search_all(material, study.readout.emotions)
    study.forget_read()  # what heads and neurons hold everywhere is asked for no more
    give_freed_memory_back()
    save_circuits(
        make_folder(study.out / "circuits") / CIRCUITS, [one.circuit for one in searched.values()]
    )
    trial = FaithfulnessTrial(
        shares=limits.shares,
        draws=max(enough_draws(len(searched)), limits.draws // 5),
        tried=limits.draws // 12 * 4,
        mode=study.settings.ablate_with,
        reach="last",
        seed=seed,
        optimal=study.settings.optimal_circuits,
    )
    trials = [trial, replace(trial, reach="all", tried=0, halves=0)]
    n_pairs = max(limits.kept_pairs, ceil(FEWEST_KEPT / len(searched)))
    rows = influence_of(material, searched, trials, n_pairs=n_pairs)
    return [{"position": study.position, **row} for row in rows]


def enough_draws(n_emotions: int) -> int:
    """Random orders beside each emotion's circuit: `ORDERS` over all of them, and so many that the
    p of all together can be .02.
    """
    return max(ceil(ORDERS / n_emotions), draws_for(n_emotions, p=0.02))


def gather(
    model: LanguageModel,
    battery: Battery,
    emotions: Sequence[str],
    *,
    readout: Readout | None = None,
    budget: int | None = None,
    seed: int = 0,
) -> Material:
    """The material for circuits of these emotions, whose twins are read now.

    What can be refused is refused before that: `UsageError` for an emotion without words, a budget
    that is larger than the model, and a model whose parts do not add up or cannot be edited;
    `StatisticsError` for an emotion without pairs.
    """
    asked = readout or readout_for(model, tuple(emotions))
    bound = asked.bind(model)
    for emotion in emotions:
        bound.column(emotion)
        if not battery.pairs().of(emotion):
            known = ", ".join(battery.emotions) or "none"
            raise StatisticsError(f"no pair of the battery evokes {emotion!r}; it has {known}.")
    if budget is not None:
        widths = {"head": model.dims.n_heads, "neuron": model.dims.d_mlp}
        for kind, parts in split_budget(budget).items():
            usual_budget(kind, n_layers=model.dims.n_layers, width=widths[kind], parts=parts)
    sites, told = circuit_sites(model)
    if told:
        warnings.warn(told, stacklevel=3)
    mine = [pair for pair in battery.pairs() if pair.affective.emotion in emotions]
    texts = {item.id: item for pair in mine for item in pair}
    kept = Battery(battery.name, tuple(texts.values()))
    store = capture(model, kept, sites=sites, positions=(LAST,))
    rows = {item: row for row, item in enumerate(store.items)}
    pairs = finite_pairs(store, kept)
    return Material(
        model, pairs, lambda site: store.read(site).x, rows, asked, battery.sha256, seed
    )


def search_all(
    material: Material, emotions: Sequence[str], *, budget: int | None = None
) -> dict[str, Searched]:
    """The circuit of each emotion, as the choosing half has it. An emotion for which nothing holds
    is left out, with a warning; `StatisticsError` where none is left.
    """
    sites, told = circuit_sites(material.model)
    if told:
        warnings.warn(told, stacklevel=3)
    activations = {site: material.values(site) for site in sites}
    chosen, _ = material.halves
    found: dict[str, Searched] = {}
    for emotion in track(list(emotions), "circuits", unit="emotion"):
        mine = chosen.of(emotion)
        items = np.array([[material.row_of[item.id] for item in pair] for pair in mine])
        neutral = {item.id: item for item in mine.neutral}
        try:
            found[emotion] = search(
                material.model,
                activations,
                EmotionTwins(emotion, items, mine.groups),
                list(neutral.values()),
                provenance={"battery": material.battery, "half": "choose"},
                seed=material.seed,
                budget=budget,
            )
        except StatisticsError as error:
            if len(emotions) == 1:
                raise
            warnings.warn(f"{emotion} has no circuit: {error}", stacklevel=2)
    if not found:
        raise StatisticsError(f"none of {', '.join(emotions)} has a circuit.")
    return found


def optimal_of(material: Material, searched: Searched) -> Circuit:
    """The circuit of as many parts that are chosen greedily on the choosing half, by what the words
    lose without each at the text's last token.
    """
    emotion = searched.circuit.emotion
    pairs = balanced(material.halves[0].of(emotion), n=PAIRS, seed=material.seed)
    choosing = bench_of(material.model, pairs, {emotion: searched}, material.readout)
    return optimal_circuit(searched, choosing, FaithfulnessTrial(reach="last", seed=material.seed))


def influence_of(
    material: Material,
    searched: Mapping[str, Searched],
    trials: Sequence[FaithfulnessTrial],
    *,
    n_pairs: int = PAIRS,
) -> TableRows:
    """All rows of circuits: how they were found, what each is worth in at most `n_pairs` of its
    emotion's reported pairs (in each of the trials), and how far they overlap.
    """
    model = material.model
    rows = [row for one in searched.values() for row in search_rows(one)]
    for trial in trials:
        rows += _worth(material, searched, trial, n_pairs=n_pairs)
    widths = {"head": model.dims.n_heads, "neuron": model.dims.d_mlp}
    circuits = {emotion: one.circuit for emotion, one in searched.items()}
    return [*rows, *overlap_rows(circuits, widths, seed=material.seed)]


def _worth(
    material: Material,
    searched: Mapping[str, Searched],
    trial: FaithfulnessTrial,
    *,
    n_pairs: int,
) -> TableRows:
    """The rows of faithfulness in one trial."""
    halves = [
        balanced(
            [pair for pair in half if pair.affective.emotion in searched],
            n=n_pairs * len(searched),
            seed=material.seed,
        )
        for half in material.halves
    ]
    choosing, reported = (
        bench_of(material.model, half, searched, material.readout) for half in halves
    )
    measured = scored_circuit(searched, choosing, reported, trial)
    groups = {emotion: halves[1].of(emotion).groups for emotion in searched}
    rows, without = faithfulness_rows(measured, groups)
    if without:
        warnings.warn(
            f"of {', '.join(without)} nothing can be said (reach {trial.reach}): what the model "
            "does with its texts is not surely more than what is left of it without any head or "
            "neuron there.",
            stacklevel=3,
        )
    return [{"mode": trial.mode, "reach": trial.reach, **row} for row in rows]
