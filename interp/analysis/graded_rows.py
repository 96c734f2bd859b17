"""A graded target at many sites, as rows of the probes' table: its correlation with what is read on
held-out scenarios, beside the words on the same folds, and p.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.baselines import BASELINES, Lexicons
from interp.analysis.controls import Null, relabellings, ridge_agreement
from interp.analysis.design import Design
from interp.analysis.features import FoldFeatures, check_finite_rows
from interp.analysis.folds import Folds, fold_of, graded_folds
from interp.analysis.graded import (
    Graded,
    correlation_above,
    correlation_estimate,
    pearson_of,
    predict_numbers,
    score_numbers,
)
from interp.analysis.nested import ABOVE_TEXT, choose_places
from interp.analysis.refits import SiteRows, Sites
from interp.analysis.site_probes import UNTESTED, family_wise
from interp.analysis.spread import share_out
from interp.chance import benjamini_hochberg
from interp.stats import Labels, numbered

NESTED_PEARSON = "nested_pearson"

P_OF_NUMBERS = "refits of a ridge probe to relabelled values"
"""What the p on the Pearson correlation of a place tests: that of a ridge probe of one penalty,
refitted for each relabelling."""

P_OF_CHOSEN = "refits of a ridge probe to relabelled values, each fold choosing its place anew"


DrawnNumbers = Float[np.ndarray, "draw item"]
"""A number of each item as it is (row 0), and under every relabelling."""


@dataclass(frozen=True, slots=True)
class GradedTask:
    """A number to be read of every item, with the folds and the relabellings that all sites
    share.
    """

    name: str
    values: Float[np.ndarray, " item"]
    groups: Labels
    folds: Folds
    relabelled: DrawnNumbers


def prepare_graded(
    name: str,
    values: Sequence[float],
    groups: Labels,
    *,
    n_splits: int = 5,
    n_perm: int = 1000,
    seed: int = 0,
) -> GradedTask:
    """The task of reading `values`. Relabellings are those of a design whose classes are the
    different values (`Design.infer`); row 0 is the true one.

    Raises as `graded_folds` and `Design.relabel`.
    """
    numbers, scenario = np.asarray(values, dtype=np.float64), numbered(groups)
    folds = graded_folds(numbers, scenario, n_splits=n_splits, seed=seed)
    kinds, code = np.unique(numbers, return_inverse=True)
    design = Design.infer(kind_names(code), scenario)
    drawn = relabellings(design, folds=folds, n_perm=n_perm, seed=seed)
    return GradedTask(name, numbers, scenario, folds, kinds[drawn].astype(np.float32))


def kind_names(kind: Int[np.ndarray, " item"]) -> list[str]:
    """Names of the kinds whose order is that of their numbers."""
    wide = len(str(int(kind.max())))
    return [f"{one:0{wide}d}" for one in kind.tolist()]


class Correlated(NamedTuple):
    """The correlations of a ridge probe at one place under every relabelling (the first is the
    truth), of the outer folds and of what is inside them.
    """

    outer: Float[np.ndarray, "fold draw"]
    inner: Float[np.ndarray, "fold draw"]


def correlated(
    x: Float[np.ndarray, "item feature"], drawn: DrawnNumbers, folds: Folds
) -> Correlated:
    """The correlations of a ridge probe of the numbers `drawn` at a place whose rows are `x`."""
    read = partial(ridge_agreement, x, drawn)
    outer = np.array([read(fold.train, fold.test) for fold in folds])
    inner = np.array([np.mean([read(*rows) for rows in fold.inner], axis=0) for fold in folds])
    return Correlated(outer, inner)


def place_ps(places: Sequence[Correlated]) -> list[dict[str, float]]:
    """The p of each place, corrected over all of them."""
    nulls = [Null(float(one.outer[:, 0].mean()), one.outer[:, 1:].mean(axis=0)) for one in places]
    family, over_sites = family_wise(nulls), benjamini_hochberg(np.array([one.p for one in nulls]))
    return [
        {"p": null.p, "p_corrected": float(corrected), "p_max_t": float(largest)}
        for null, largest, corrected in zip(nulls, family, over_sites, strict=True)
    ]


class ChosenPlace(NamedTuple):
    """The place that each fold chose on its training scenarios, the one that most chose, what to
    write in rows of it, and the p of choosing anew under each relabelling.
    """

    own: Int[np.ndarray, " fold"]
    most: int
    columns: dict[str, Any]
    p: float

    def joined(
        self, told: Sequence[Float[np.ndarray, " item *column"]], folds: Folds
    ) -> np.ndarray:
        """Of each item what was told of it at the place that its fold chose, of `told` by place."""
        fold = fold_of(folds, len(told[0]))
        return np.stack(told)[self.own[fold], np.arange(len(fold))]


def choose_correlated(
    places: Sequence[Correlated], where: Sequence[Mapping[str, Any]]
) -> ChosenPlace:
    """The choice among places, whose columns are `where`; all folds have inner ones."""
    chosen = choose_places(np.array([place.inner for place in places]))
    assert chosen is not None
    outer = np.array([place.outer for place in places])
    draws = np.take_along_axis(outer, chosen[None], axis=0)[0].mean(axis=0)
    own = chosen[:, 0]
    most, times = Counter(own.tolist()).most_common(1)[0]
    columns = {**where[most], "control": "", "chosen_by": f"{times} of {len(own)} folds"}
    return ChosenPlace(own, most, columns, Null(float(draws[0]), draws[1:]).p)


class _Place(NamedTuple):
    """One place: what to write in its rows, what was told there, and how it correlates."""

    where: Mapping[str, Any]
    told: Graded
    correlated: Correlated


def graded_rows(
    sites: Sites, task: GradedTask, texts: Sequence[str], *, probe: str, lexicons: Lexicons
) -> list[dict[str, Any]]:
    """Rows (pearson, spearman, r2) of every place and of every text baseline (`control`), and of
    `nested_pearson`, whose folds chose their place on their training scenarios, beside how far it
    lies above each baseline (`above_text`), paired.

    `p` stands on the Pearson rows of the places (`P_OF_NUMBERS`, corrected over them as those of
    `probe_sites`) and on the nested one (`P_OF_CHOSEN`, with `least_p`, the smallest that there can
    be). Raises as `predict_numbers`.
    """
    found = list(share_out(partial(_at_place, task=task, probe=probe), sites()))
    tested_places = place_ps([one.correlated for one in found])
    rows: list[dict[str, Any]] = []
    for place, p in zip(found, tested_places, strict=True):
        for row in score_numbers(place.told):
            tested = {**p, "p_of": P_OF_NUMBERS} if row["metric"] == "pearson" else {}
            rows.append({**place.where, "control": "", "target": "", **row, **tested})
    words = {
        name: predict_numbers(
            make(texts, lexicons), task.values, task.groups, folds=task.folds, probe="ridge"
        )
        for name, make in BASELINES.items()
    }
    rows += _nested(found, task, words, min(one["p_max_t"] for one in tested_places))
    rows = [{"method": probe, **row, "task": task.name} for row in rows]
    empty = {"site": "", "position": "", "target": ""}
    for name, told in words.items():
        named = {**empty, "control": name, "method": name, "task": task.name}
        rows += [{**named, **row} for row in score_numbers(told)]
    return [{**UNTESTED, **row} for row in rows]


def _at_place(place: SiteRows, *, task: GradedTask, probe: str) -> _Place:
    where, x = place
    check_finite_rows(x, len(task.values))
    features = FoldFeatures(x)
    told = predict_numbers(
        lambda fold: features.of(fold, turned=True),
        task.values,
        task.groups,
        folds=task.folds,
        probe=probe,
    )
    return _Place(where, told, correlated(x, task.relabelled, task.folds))


def _nested(
    found: Sequence[_Place], task: GradedTask, words: Mapping[str, Graded], p_max_t: float
) -> list[dict[str, Any]]:
    """The rows of choosing a place by folds, and reading the number there."""
    choice = choose_correlated([one.correlated for one in found], [one.where for one in found])
    told = choice.joined([place.told.told for place in found], task.folds)
    joined = replace(found[choice.most].told, told=told)
    least = 1 / len(np.unique(task.relabelled, axis=0))
    p = {"p": choice.p, "p_of": P_OF_CHOSEN, "p_max_t": p_max_t, "least_p": least}
    value = correlation_estimate(pearson_of(joined), joined)
    rows = [{**choice.columns, "metric": NESTED_PEARSON, "target": "", **value._asdict(), **p}]
    for name, text in words.items():
        above = correlation_above(joined, text)
        rows.append({**choice.columns, "metric": ABOVE_TEXT, "target": name, **above._asdict()})
    return rows
