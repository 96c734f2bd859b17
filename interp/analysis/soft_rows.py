"""Soft labels at many sites, as rows of the probes' table: what a probe tells of each text's shares
on held-out scenarios, beside the words on the same folds, shuffled shares, and p.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.baselines import BASELINES, READER, Lexicons
from interp.analysis.controls import relabellings
from interp.analysis.design import Design
from interp.analysis.features import FoldFeatures, check_finite_rows
from interp.analysis.folds import Folds, graded_folds
from interp.analysis.graded_rows import (
    Correlated,
    choose_correlated,
    correlated,
    kind_names,
    place_ps,
)
from interp.analysis.nested import ABOVE_TEXT
from interp.analysis.probes import probe_named
from interp.analysis.refits import SiteRows, Sites
from interp.analysis.site_probes import UNTESTED
from interp.analysis.soft import (
    Soft,
    explained_above,
    explained_share,
    predict_shares,
    score_shares,
    shuffled_explained,
)
from interp.analysis.spread import share_out
from interp.stats import Labels, numbered

NESTED_EXPLAINED = "nested_kl_explained"

SHUFFLES = 5
"""Relabellings whose probes are fitted, as the control of shuffled shares."""

P_OF_SHARES = "refits of a ridge probe to relabelled shares"
"""What the p on the explained divergence of a place tests: the correlation of a ridge probe of one
penalty with the shares, the mean over the classes, refitted for each relabelling."""

P_OF_CHOSEN_SHARES = f"{P_OF_SHARES}, each fold choosing its place anew"

_METHOD = "soft_logistic"
"""What rows of the probe say under `method`: there is one probe of soft labels."""


@dataclass(frozen=True, slots=True)
class SoftTask:
    """Shares to be told of every item, with the folds and the relabellings that all sites share:
    `kinds` are the different shares, `drawn` the kind of each item under each relabelling.
    """

    name: str
    shares: Float[np.ndarray, "item class"]
    groups: Labels
    folds: Folds
    kinds: Float[np.ndarray, "kind class"]
    drawn: Int[np.ndarray, "draw item"]


def prepare_soft(
    name: str,
    shares: Float[np.ndarray, "item class"],
    groups: Labels,
    *,
    n_splits: int = 5,
    n_perm: int = 1000,
    seed: int = 0,
) -> SoftTask:
    """The task of telling `shares`, whose rows add up to 1. Scenarios are dealt into folds by the
    axis along which the shares differ most. Under a relabelling scenarios change places as a whole
    and their texts within them (`Design`, exchange "scenario"): two texts of a scenario are no
    twins that differ in nothing but their shares. Row 0 is the true one.

    Raises as `graded_folds` and `Design.relabel`.
    """
    scenario = numbered(groups)
    centred = shares - shares.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    folds = graded_folds(along.round(9), scenario, n_splits=n_splits, seed=seed)
    kinds, kind = np.unique(shares, axis=0, return_inverse=True)
    names = np.array(kind_names(kind.reshape(-1)))
    design = Design(names, scenario.astype(str), scenario, "scenario")
    drawn = relabellings(design, folds=folds, n_perm=n_perm, seed=seed)
    return SoftTask(name, shares, scenario, folds, kinds, drawn)


class _Place(NamedTuple):
    """One place: what to write in its rows, what was told there, what is explained of shuffled
    shares, and how it correlates.
    """

    where: Mapping[str, Any]
    told: Soft
    shuffled: Float[np.ndarray, " draw"]
    correlated: Correlated


def soft_rows(
    sites: Sites, task: SoftTask, texts: Sequence[str], *, lexicons: Lexicons
) -> list[dict[str, Any]]:
    """Rows (kl, kl_explained) of every place and of every text baseline (`control`), of shuffled
    shares at every place (control "shuffled": the mean of `SHUFFLES` relabellings, between
    `draw_low` and `draw_high`), and of `nested_kl_explained`, whose folds chose their place on
    their training scenarios, beside how far it lies above each baseline (`above_text`), paired.

    0 is what the mean shares of the training texts explain. `p` stands on `kl_explained` of the
    places (`P_OF_SHARES`, corrected over them) and on the nested one (`P_OF_CHOSEN_SHARES`, with
    `least_p`). Raises as `predict_shares`.
    """
    found = list(share_out(partial(_at_place, task=task), sites()))
    tested_places = place_ps([one.correlated for one in found])
    rows: list[dict[str, Any]] = []
    for place, p in zip(found, tested_places, strict=True):
        for row in score_shares(place.told):
            tested = {**p, "p_of": P_OF_SHARES} if row["metric"] == "kl_explained" else {}
            rows.append({**place.where, "control": "", **row, **tested})
        rows.append({**place.where, "control": "shuffled", **_range(place.shuffled, task)})
    words = {
        name: predict_shares(
            make(texts, lexicons), task.shares, task.groups, folds=task.folds, grid=READER.grid
        )
        for name, make in BASELINES.items()
    }
    rows += _nested(found, task, words, min(one["p_max_t"] for one in tested_places))
    rows = [{"method": _METHOD, **row} for row in rows]
    for name, told in words.items():
        named = {"site": "", "position": "", "control": name, "method": name}
        rows += [{**named, **row} for row in score_shares(told)]
    return [{**UNTESTED, "target": "", **row, "task": task.name} for row in rows]


def _at_place(place: SiteRows, *, task: SoftTask) -> _Place:
    where, x = place
    check_finite_rows(x, len(task.shares))
    prepare = partial(FoldFeatures(x).of, turned=True)
    told = predict_shares(
        prepare, task.shares, task.groups, folds=task.folds, grid=probe_named("logistic").grid
    )
    drawn = task.kinds[task.drawn[1 : SHUFFLES + 1]]
    shuffled = shuffled_explained(prepare, told, drawn, folds=task.folds)
    return _Place(where, told, shuffled, correlated_shares(x, task))


def correlated_shares(x: Float[np.ndarray, "item feature"], task: SoftTask) -> Correlated:
    """The correlations of a ridge probe with the shares at a place, the mean over the classes."""
    of_class = [
        correlated(x, one[task.drawn].astype(np.float32), task.folds) for one in task.kinds.T
    ]
    return Correlated(*(np.mean(side, axis=0) for side in zip(*of_class, strict=True)))


def _range(draws: Float[np.ndarray, " draw"], task: SoftTask) -> dict[str, Any]:
    ends = {"draw_low": float(draws.min()), "draw_high": float(draws.max())}
    value = {"value": float(draws.mean()), "ci_low": np.nan, "ci_high": np.nan}
    return {"metric": "kl_explained", **value, **ends, "n": len(task.shares)}


def _nested(
    found: Sequence[_Place], task: SoftTask, words: Mapping[str, Soft], p_max_t: float
) -> list[dict[str, Any]]:
    """The rows of choosing a place by folds, and telling the shares there."""
    choice = choose_correlated([one.correlated for one in found], [one.where for one in found])
    told = choice.joined([place.told.told for place in found], task.folds)
    joined = replace(found[choice.most].told, told=told)
    least = 1 / len(np.unique(task.drawn, axis=0))
    p = {"p": choice.p, "p_of": P_OF_CHOSEN_SHARES, "p_max_t": p_max_t, "least_p": least}
    rows = [
        {**choice.columns, "metric": NESTED_EXPLAINED, **explained_share(joined)._asdict(), **p}
    ]
    for name, text in words.items():
        above = explained_above(joined, text)
        rows.append({**choice.columns, "metric": ABOVE_TEXT, "target": name, **above._asdict()})
    return rows
