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
from jaxtyping import Bool, Int

from interp.analysis.directions import project, twin_folds
from interp.analysis.folds import fold_of
from interp.analysis.lengths import PairRows, flipped_lengths
from interp.analysis.methods import Method, method_named
from interp.analysis.predictions import Predictions, auroc_statistic
from interp.analysis.stats import heaviest_scenario, max_t, share_inflation, weighted_auroc
from interp.defaults import DIRECTION
from interp.stats import Labels, jackknife, share_difference

RowSplit = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
"""Numbers of training rows, and of test rows."""

PlaceColumns = Mapping[str, Any]
"""What to write in a place's rows: site, layer, position."""

NESTED_AUROC = "nested_auroc"
ABOVE_TEXT = "above_text"


def choose_places(found: Sequence[Predictions]) -> Int[np.ndarray, " fold"] | None:
    """For each outer fold the number of the place with the least log-loss over its inner folds.

    None where some fold has no inner folds to choose on, unless there is one place only.
    """
    n_folds = int(found[0].fold.max()) + 1
    if len(found) == 1:
        return np.zeros(n_folds, dtype=np.int64)
    losses = np.array([one.inner_losses for one in found])
    return losses.argmin(axis=0) if losses.size and np.isfinite(losses).all() else None


def joined(found: Sequence[Predictions], chosen: Int[np.ndarray, " fold"]) -> Predictions:
    """The held-out predictions of each fold at the place that it chose; all of the same items."""
    first = found[0]
    at = chosen[first.fold]
    probability = np.stack([one.probability for one in found])[at, np.arange(len(at))]
    settings = tuple(found[place].chosen[fold] for fold, place in enumerate(chosen.tolist()))
    return replace(first, probability=probability, chosen=settings, inner_losses=(), warnings=())


def nested_rows(
    found: Sequence[Predictions], places: Sequence[PlaceColumns], texts: Mapping[str, Predictions]
) -> list[dict[str, Any]]:
    """Rows of `nested_auroc`, the macro AUROC where each fold chose its place, and of `above_text`:
    how far it lies above each text baseline (`target`), paired by scenario on the same folds.

    The rows' place is the one that most folds chose (`chosen_by`). Intervals leave out scenarios,
    wider by `share_inflation`. No row where the scenarios are too few to choose a place on.
    """
    chosen = choose_places(found)
    if chosen is None:
        return []
    told = joined(found, chosen)
    most, times = Counter(chosen.tolist()).most_common(1)[0]
    common = {**places[most], "control": "", "chosen_by": f"{times} of {len(chosen)} folds"}
    statistic, heaviest = auroc_statistic(told), heaviest_scenario(told.y, told.groups)
    own = jackknife(
        statistic,
        told.groups,
        scale="share",
        inflation=share_inflation(told.groups),
        heaviest=heaviest,
    )
    rows: list[dict[str, Any]] = [{**common, "metric": NESTED_AUROC, "target": "", **own._asdict()}]
    for name, text in texts.items():
        above = share_difference(
            statistic,
            auroc_statistic(text),
            told.groups,
            inflation=share_inflation(told.groups),
            heaviest=(heaviest, heaviest),
        )
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
    (max-T), whatever the method. No row where the scenarios are too few to choose a place on.
    Raises as `grouped_folds`, and `UsageError` for an unknown method.
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
    own = jackknife(
        lambda w: weighted_auroc(projection, w * truth, w * ~truth, strata=number),
        both,
        scale="share",
        inflation=share_inflation(groups),
        heaviest=heaviest_scenario(truth, both),
    )
    most, times = Counter(chosen).most_common(1)[0]
    chosen_by = f"{times} of {len(folds)} folds"
    row = {**places[most], "method": method, "metric": NESTED_AUROC, "chosen_by": chosen_by}
    p_of = f"sign flips of scenarios, the largest of {len(places)} places"
    return [
        {**row, **own._asdict(), "n": n // 2, "p": _family_p(twins, groups, seed), "p_of": p_of}
    ]


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
