"""Nested choice: the best place is chosen on some scenarios and its score told of others.

The best of many scores is high by luck too: of 40 places that tell nothing, the best averages an
AUROC of .66. So every outer fold chooses its own place, on its training scenarios alone, and its
test scenarios are scored there: what is told is the score of *choosing a place and reading it*, and
no place was chosen by what it is told of. Cawley & Talbot (2010).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.analysis.directions import project, separation_share, twin_folds
from interp.analysis.folds import fold_of
from interp.analysis.lengths import PairRows, flipped_lengths
from interp.analysis.methods import Method, fold_inflation, method_named
from interp.analysis.predictions import Predictions, auroc_share
from interp.analysis.stats import max_t, weighted_auroc
from interp.chance import least_flip_p
from interp.defaults import DIRECTION
from interp.shares import share_difference
from interp.stats import Labels

RowSplit = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
"""Numbers of training rows, and of test rows."""

PlaceColumns = Mapping[str, Any]
"""What to write in a place's rows: site, layer, position."""

NESTED_AUROC = "nested_auroc"
ABOVE_TEXT = "above_text"


def choose_places(
    inner: Float[np.ndarray, "place fold draw"],
) -> Int[np.ndarray, "fold draw"] | None:
    """For each outer fold and labelling the number of the place that correlates highest
    with the labels over its inner folds (`controls.inner_correlations`).

    None where some fold has no inner folds to choose on, unless there is one place only.
    """
    if len(inner) == 1:
        return np.zeros(inner.shape[1:], dtype=np.int64)
    return inner.argmax(axis=0) if np.isfinite(inner).all() else None


def joined(found: Sequence[Predictions], chosen: Int[np.ndarray, " fold"]) -> Predictions:
    """The held-out predictions of each fold at the place that it chose; all of the same items. What
    scenarios teach each other is that of the place that most folds chose.
    """
    first = found[0]
    at = chosen[first.fold]
    probability = np.stack([one.probability for one in found])[at, np.arange(len(at))]
    settings = tuple(found[place].chosen[fold] for fold, place in enumerate(chosen.tolist()))
    common = found[Counter(chosen.tolist()).most_common(1)[0][0]]
    return replace(common, probability=probability, chosen=settings, warnings=())


def nested_rows(
    told: Predictions,
    chosen: Int[np.ndarray, " fold"],
    places: Sequence[PlaceColumns],
    texts: Mapping[str, Predictions],
) -> list[dict[str, Any]]:
    """Rows of `nested_auroc`, the macro AUROC of `told`, whose folds took the places `chosen` (see
    `joined`), and of `above_text`: how far it lies above each text baseline (`target`), paired by
    scenario on the same folds.

    The rows' place is the one that most folds chose (`chosen_by`). Intervals leave out scenarios,
    wider by what the folds share.
    """
    most, times = Counter(chosen.tolist()).most_common(1)[0]
    common = {**places[most], "control": "", "chosen_by": f"{times} of {len(chosen)} folds"}
    probe = auroc_share(told)
    rows: list[dict[str, Any]] = [
        {**common, "metric": NESTED_AUROC, "target": "", **probe.estimate(told.groups)._asdict()}
    ]
    for name, text in texts.items():
        above = share_difference(probe, auroc_share(text), told.groups)
        rows.append({**common, "metric": ABOVE_TEXT, "target": name, **above._asdict()})
    return rows


def nested_separation(
    twins: Sequence[tuple[PairRows, PairRows]],
    places: Sequence[PlaceColumns],
    groups: Labels,
    *,
    method: str = DIRECTION,
    n_splits: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The row of `nested_auroc` for the direction that `method` finds, where each fold chose its
    place.

    `twins` holds the affective and the neutral rows of each place. A fold fits on its training
    scenarios and chooses, on its inner folds, the place whose direction separates best. `p` is that
    the twins differ nowhere: scenarios' signs flipped, the longest mean difference of all places
    (max-T), whatever the method; `least_p` is the smallest that so many scenarios allow. No row
    where the scenarios are too few to choose a place on. Raises as `grouped_folds`, and
    `UsageError` for an unknown method.
    """
    fitted = method_named(method)
    folds = twin_folds(groups, n_splits=n_splits, seed=seed)
    if not all(fold.inner for fold in folds):
        return []
    stacked = [np.concatenate(one).astype(np.float64) for one in twins]
    n = len(stacked[0])
    truth, projection, chosen = np.arange(n) < n // 2, np.zeros(n), []
    for fold in folds:
        inner = [[_separated(x, split, truth, fitted) for split in fold.inner] for x in stacked]
        chosen.append(int(np.mean(inner, axis=1).argmax()))
        projection[fold.test] = project(stacked[chosen[-1]], fold.train, fold.test, fitted)
    number, both = fold_of(folds, n), np.concatenate([groups, groups])
    most, times = Counter(chosen).most_common(1)[0]
    wider = fold_inflation(*twins[most], groups, number[: n // 2], method=method)
    own = separation_share(projection, truth, number, both, inflation=wider).estimate(both)
    chosen_by = f"{times} of {len(folds)} folds"
    row = {**places[most], "method": method, "metric": NESTED_AUROC, "chosen_by": chosen_by}
    tested = {
        "p": _family_p(twins, groups, seed),
        "p_of": f"sign flips of scenarios, the largest of {len(places)} places",
        "least_p": least_flip_p(len(np.unique(np.asarray(groups))), side="two"),
    }
    return [{**row, **own._asdict(), "n": n // 2, **tested}]


def _separated(
    x: PairRows, split: RowSplit, truth: Bool[np.ndarray, " _"], method: Method
) -> float:
    """The AUROC of a split's test rows on the direction of its training rows."""
    train, test = split
    positive = truth[test].astype(float)[None]
    return float(weighted_auroc(project(x, train, test, method), positive, 1 - positive)[0])


def _family_p(twins: Sequence[tuple[PairRows, PairRows]], groups: Labels, seed: int) -> float:
    drawn = np.stack(
        [flipped_lengths(one - other, groups, seed=seed) for one, other in twins], axis=1
    )
    return float(max_t(drawn[0], drawn[1:]).min())
