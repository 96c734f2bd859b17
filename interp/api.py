"""The verbs of `import interp` that join several rooms; each is a thin call of what a room offers.

`load`, `battery`, `generate`, `steer` and `draw` are the rooms' own. What is measured comes back as
a pandas DataFrame in the form of `interp.results`, ready for `draw`.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp import study
from interp.analysis.beside import beside_named
from interp.analysis.emotion_directions import (
    TwinRows,
    fit_emotion,
    origin_of,
    saturated_sites,
    usual_layer,
)
from interp.analysis.graded_rows import graded_rows, prepare_graded
from interp.analysis.questions import QUESTIONS, answer, cells, lexicons, reception, task_of
from interp.analysis.refits import SiteRows
from interp.analysis.targets import field_names, target_of, without_rare
from interp.capture import ActivationStore, capture
from interp.capture.options import Options
from interp.causal.ablation import ablating
from interp.causal.attribution import Attribution
from interp.causal.attribution_rows import attribute_pairs
from interp.causal.bench import Bench
from interp.causal.circuit import Circuit
from interp.causal.contributions import KINDS, Component, EmotionTwins, order_components
from interp.causal.patches import Patches
from interp.causal.patching import patch_pairs
from interp.causal.ranked_parts import Counts, ranked_rows
from interp.causal.readout import Readout
from interp.chance import draws_for
from interp.defaults import ATTRIBUTE_WITH, DIRECTION, GRADED_PROBE, PATH_STEPS, PROBE
from interp.directions import Direction
from interp.errors import StatisticsError, UsageError
from interp.evaluation.readouts import readout_for
from interp.models import LanguageModel
from interp.models.checks.reliance import tell_refused, usable
from interp.records import RunRecord
from interp.results import table
from interp.sites import LAST, RESIDUAL_WIDE, STREAM, Site
from interp.stages import STAGES
from interp.study import circuits
from interp.study.conditions import evoking
from interp.study.sources import centred, chosen_emotion
from interp.study.twins import finite_pairs, ordered_pairs
from stimuli.battery import Battery, Pairs, Stimulus

DRAWS = 20
"""Random choices beside an ablation, at least."""


def record(
    model: LanguageModel,
    battery: Battery,
    *,
    sites: str | Sequence[str | Site] = STREAM,
    positions: Sequence[str] = (LAST,),
    out: Path | str | None = None,
    options: Options | None = None,
) -> ActivationStore:
    """What the model computes at `sites` while it reads each text, at the text's own last token.

    Without `out` it stays in memory; with it the same call resumes. Raises as `capture`.
    """
    named = [sites] if isinstance(sites, str) else sites
    return capture(model, battery, sites=named, positions=positions, out=out, options=options)


def probe(
    store: ActivationStore,
    battery: Battery,
    *,
    question: str = "reception",
    probe: str | None = None,
    beside: str | None = None,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """A probe of every recorded site that is as wide as the stream, on scenarios held out.

    Beside it, on the same folds: the text baselines, what the probe learns by heart, nuisances, and
    p; and what `beside` names (`interp.analysis.beside.BESIDE_PROBES`). `question`: `reception`
    (affective or neutral?), `categorisation` (which emotion?), or a field of the texts
    (`intensity`, `appraisal.agent`). Classes are told by a `probe` of
    `interp.analysis.probes.PROBES` (by default logistic), numbers and steps by one of
    `interp.analysis.graded.GRADED` (ridge), beside which nothing else is measured. `battery` is the
    one that was recorded, or a part of it. What `interp run` calls `probes`. Raises `UsageError`
    for another probe, question or site, and as `interp.analysis.questions` and
    `interp.analysis.targets`.
    """
    measured = beside_named(beside)
    if question in QUESTIONS:
        items, labels = _asked(question, store, battery)
    else:
        there = [item for item in battery.items if item.id not in store.quarantined]
        if question not in (known := field_names(there)):
            raise UsageError(
                f"unknown question {question!r}: ask one of {', '.join([*QUESTIONS, *known])}."
            )
        target = without_rare(target_of(question, there), folds=folds)
        items, labels = list(target.items), target.words
        if target.is_graded:
            if measured:
                raise UsageError(
                    f"{question!r} holds numbers, and beside={beside!r} is measured of classes: "
                    "leave it out."
                )
            graded = prepare_graded(
                question, target.numbers, target.groups, n_splits=folds, seed=seed
            )
            rows = graded_rows(
                lambda: _activations(store, items),
                graded,
                [item.text for item in items],
                probe=probe or GRADED_PROBE,
                lexicons=lexicons(),
            )
            return _read_frame(rows, store, battery, seed)
    task = task_of(question, items, labels, folds=folds, seed=seed)
    swept = answer(
        task, items, lambda: _activations(store, items), probe=probe or PROBE, beside=measured
    )
    for warning in swept.warnings:
        warnings.warn(warning, stacklevel=2)
    return _read_frame(swept.rows, store, battery, seed)


def direction(
    store: ActivationStore,
    battery: Battery,
    *,
    emotion: str | None = None,
    site: Site | str | None = None,
    method: str = DIRECTION,
    arm: str | None = None,
) -> Direction:
    """The direction from neutral to `emotion`, fitted on all pairs of `battery`.

    `emotion` may be left out where the battery has one. Without a `site` it is the first layer of
    the stream that tells held-out twins apart as well as the best one. That choice sees all pairs:
    it is good for use, and no score of it is to be reported (`probe` and `run` give those).

    With an `arm`, and the method `group_centred`, it is the emotion's texts of that arm less the
    mean over all emotions of each scenario (`interp.study.sources.centred`): no twins are needed,
    and the site is by default two thirds of the way up.
    Raises `UsageError` where the emotion is not clear, the site was not recorded or an arm comes
    with another method, `StatisticsError` for an emotion without pairs, and as
    `interp.analysis.directions.fit`.
    """
    if arm is not None:
        if method != "group_centred":
            raise UsageError(
                f"the texts of one arm are no twins, which {method!r} needs: with arm={arm!r} say "
                "method='group_centred'."
            )
        usual = Site(STREAM, usual_layer(int(store.provenance["n_layers"])))
        found = centred(store, battery, arm=arm, site=usual if site is None else site)
        return found[chosen_emotion(emotion, battery, arm)]
    emotion = emotion or _only_emotion(battery)
    pairs = finite_pairs(store, battery).of(emotion)
    if not pairs:
        known = ", ".join(battery.emotions)
        raise StatisticsError(f"no pair of the battery evokes {emotion!r}; it has {known}.")

    def twins_at(where: Site) -> Iterator[tuple[TwinRows, tuple[str, ...]]]:
        yield store.read(where).twins(pairs), pairs.groups

    if site is None:
        site = saturated_sites(_recorded(store, (STREAM,)), twins_at, method=method)[0]
    at = Site.parse(site) if isinstance(site, str) else site
    model, position = store.provenance["model"], store.positions[0]
    origin = origin_of(model, battery=battery.sha256, position=position)
    ((twins, groups),) = twins_at(at)
    return fit_emotion(twins, site=at, emotion=emotion, groups=groups, origin=origin, method=method)


def patch(
    model: LanguageModel,
    battery: Battery,
    *,
    sites: str | Sequence[str] | Patches = STREAM,
    readout: Readout | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Activation patching between the texts of `battery`: which site carries the emotion.

    `sites` are patched between twins, both ways, at the last token and at the edit; a `Patches`
    (`interp.causal.patches`) says other tokens, ways, controls and metrics, too: with
    `modes=("swap",)` one emotion's texts are patched into another's. The `readout` says by which
    words the model is asked; the usual ones if none is given. Raises as
    `interp.causal.patching.patch_pairs`.
    """
    if not isinstance(sites, Patches):
        sites = Patches(sites=[sites] if isinstance(sites, str) else sites)
    asked = readout or readout_for(model, battery.emotions)
    rows = patch_pairs(model, ordered_pairs(battery), asked, sites, seed=seed)
    return _frame(rows, model.provenance, battery, seed=seed, n_layers=model.dims.n_layers)


def attribute(
    model: LanguageModel,
    battery: Battery,
    *,
    method: str = ATTRIBUTE_WITH,
    steps: int = PATH_STEPS,
    readout: Readout | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """What patching each sublayer, head and neuron would do, estimated by the gradient; beside it
    the exact patch of all sublayers, of the parts ranked first and of random ones, and the error.

    One half of the scenarios ranks them; all rows are of the other. `method`: `attribution` (one
    gradient) or `integrated` (its mean over `steps` along the inputs). Raises as
    `interp.causal.attribution_rows.attribute_pairs`, and `StatisticsError` for an emotion of one
    scenario.
    """
    asked = readout or readout_for(model, battery.emotions)
    halves = ordered_pairs(battery).split(seed=seed)
    how = Attribution(method=method, steps=steps)
    rows = attribute_pairs(model, halves, asked, how, seed=seed)
    return _frame(rows, model.provenance, battery, seed=seed, n_layers=model.dims.n_layers)


def ablate(
    model: LanguageModel,
    battery: Battery,
    directions: Mapping[str, Direction],
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    readout: Readout | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Knocking out the k heads or neurons that write a direction most; beside them random others,
    and the k that write it least (control `bottom`).

    They are ranked on one half of the scenarios and knocked out in the other. `directions` are
    by emotion; of the battery only their emotions are used. A direction that was fitted on these
    very pairs has seen both halves: fit it on others where a score is to be reported. Raises as
    `interp.causal.ablation.ablate`; `StatisticsError` for no pair of these emotions.
    """
    mine = Pairs(pair for pair in ordered_pairs(battery) if pair.affective.emotion in directions)
    if not mine:
        named = ", ".join(directions) or "no emotion"
        raise StatisticsError(f"no direction has a pair in the battery: directions are of {named}.")
    choosing, reported = mine.split(seed=seed)
    asked = readout or readout_for(model, tuple(directions))
    bench = Bench(model, reported, directions, asked)
    listed = _orders(model, battery, choosing, directions)
    draws = max(DRAWS, draws_for(len(directions)))
    orders = [{emotion: found[kind] for emotion, found in listed.items()} for kind in KINDS]
    shown = [order for order in orders if any(order.values())]
    rows = ranked_rows(bench, shown, ablating(), Counts(ks, draws, seed, bottom=True))
    return _frame(rows, model.provenance, battery, seed=seed, n_layers=model.dims.n_layers)


def circuit(
    model: LanguageModel,
    battery: Battery,
    *,
    emotion: str | None = None,
    budget: int | None = None,
    optimal: bool = False,
    seed: int = 0,
) -> Circuit:
    """The heads and neurons that carry `emotion`, as one half of the scenarios shows them.

    `emotion` may be left out where the battery has one. `budget`: parts in all, three heads to
    seven neurons (None: ten per sublayer, or what the model allows). `optimal`: as many parts, but
    chosen greedily by what the words lose without each. What it is worth is measured on the other
    half, by `interp circuit` or the stage `circuit`. Raises `UsageError` for an emotion without
    words, a budget larger than the model, and a model whose parts cannot be read or edited;
    `StatisticsError` for an emotion without pairs, or where nothing holds.
    """
    named = emotion or _only_emotion(battery)
    material = circuits.gather(model, battery, [named], budget=budget, seed=seed)
    searched = circuits.search_all(material, [named], budget=budget)[named]
    return circuits.optimal_of(material, searched) if optimal else searched.circuit


def run(
    model: str,
    stimuli: str,
    out: Path | str,
    *,
    stages: Sequence[str] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """The whole study of a model on a battery, both by name, into the folder `out`; resumes.
    With `stages` only those, without a report: `["probes"]`.

    `settings` are those of `interp run`, by their names there: `preset`, `device`, `probe`, ...
    (`interp.settings`). Gives the folder, the findings, the warnings and the path of the report.
    Raises `UsageError` for a name that is no setting, and as `interp.study.runs.run`.
    """
    known = [stage.name for stage in STAGES]
    for name in stages or ():
        if name not in known:
            raise UsageError(f"unknown stage {name!r}: there are {', '.join(known)}.")
    asked = study.Settings.of(model=model, stimuli=stimuli, out=Path(out), **settings)
    return study.run(asked, stages=stages)


Labelled = tuple[list[Stimulus], list[str]]
"""Texts, and a label for each."""


def _asked(question: str, store: ActivationStore, battery: Battery) -> Labelled:
    """The texts that a question is asked of, and their labels. Without twins there is only
    categorisation, asked of all texts that evoke an emotion.
    """
    if question == "reception" or battery.pairs():
        pairs = finite_pairs(store, battery)
        if question == "reception":
            return reception(pairs)
        items = list(pairs.affective)
    else:
        items = [item for item in evoking(battery) if item.id not in store.quarantined]
    return items, [item.emotion for item in items]


def _only_emotion(battery: Battery) -> str:
    if len(battery.emotions) != 1:
        known = ", ".join(battery.emotions) or "none"
        raise UsageError(f"the battery has the emotions {known}: name one, as emotion=...")
    return battery.emotions[0]


def _recorded(store: ActivationStore, names: Sequence[str]) -> list[Site]:
    sites = [site for site in store.sites if site.name in names and site.head is None]
    if not sites:
        here = ", ".join(dict.fromkeys(site.name for site in store.sites))
        asked = " or ".join(names)
        raise UsageError(f"the store has {here}, and {asked} is read: record that too.")
    return sites


def _activations(store: ActivationStore, items: Sequence[Stimulus]) -> Iterator[SiteRows]:
    ids = [item.id for item in items]
    for site, position in cells(_recorded(store, RESIDUAL_WIDE), store.positions):
        where = {"site": site.name, "layer": site.layer, "position": position}
        yield where, store.read(site, position).select(ids)


def _orders(
    model: LanguageModel, battery: Battery, pairs: Pairs, directions: Mapping[str, Direction]
) -> dict[str, dict[str, list[Component]]]:
    """All components, by emotion and kind, as `pairs` rank them."""
    items = [item for pair in pairs for item in pair]
    last = max(direction.site.layer for direction in directions.values())
    wanted = [Site(name, layer) for layer in range(last + 1) for name in KINDS.values()]
    sites, refused = usable(model, "contributions", wanted)
    if refused:
        warnings.warn(tell_refused(refused), stacklevel=3)
    store = record(model, Battery(battery.name, tuple(items)), sites=sites)
    activations = {site: store.read(site).select(item.id for item in items) for site in sites}
    twins = np.arange(len(items)).reshape(-1, 2)
    listed = {}
    for emotion, one in directions.items():
        mine = [row for row, pair in enumerate(pairs) if pair.affective.emotion == emotion]
        own = EmotionTwins(emotion, twins[mine], pairs.of(emotion).groups)
        listed[emotion] = order_components(model, activations, own, one)
    return listed


def _read_frame(
    rows: Sequence[Mapping[str, Any]], store: ActivationStore, battery: Battery, seed: int
) -> pd.DataFrame:
    """Rows that were read in a store as a table."""
    model, n_layers = store.provenance["model"], store.provenance.get("n_layers")
    return _frame(rows, model, battery, seed=seed, n_layers=n_layers)


def _frame(
    rows: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    battery: Battery,
    *,
    seed: int,
    n_layers: int | None,
) -> pd.DataFrame:
    """Rows as a table. They come from no run, so that column `run` is empty."""
    made = RunRecord(run="", model=str(model.get("model")), battery=battery.name, seed=seed)
    return table((made.row(**row) for row in rows), n_layers=n_layers)
