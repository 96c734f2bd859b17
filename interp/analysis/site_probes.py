"""One question asked of many sites: the probe's score, its control and its corrected p-value, as
rows of one table.

What does not depend on the activations (folds, relabellings) is made once, in a `Task`; every site
then costs a few fits.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.analysis.baselines import Lexicons, baseline_rows, predict_texts
from interp.analysis.beside import AT_A_PLACE, OVER_LAYERS, ProbedPlace
from interp.analysis.controls import (
    Null,
    inner_correlations,
    least_relabelled_p,
    memorisation,
    nuisance_rows,
    permutation_null,
    relabellings,
)
from interp.analysis.depths import LayerScores, depth_rows, layer_scores
from interp.analysis.design import Design
from interp.analysis.features import FoldFeatures
from interp.analysis.folds import Folds, grouped_folds
from interp.analysis.nested import (
    NESTED_AUROC,
    PlaceColumns,
    choose_places,
    joined,
    nested_rows,
)
from interp.analysis.predictions import Predictions, score
from interp.analysis.probes import cross_validate
from interp.analysis.refits import REFITS, SiteRows, Sites, refit_null
from interp.analysis.spread import share_out
from interp.analysis.stats import max_t
from interp.chance import LEAST_P, benjamini_hochberg
from interp.defaults import PROBE
from interp.errors import StatisticsError
from interp.stats import Labels, numbered

P_OF_RIDGE = "permutation of a ridge probe"
"""What the p on the AUROC of a place tests: the held-out correlation of a ridge probe, refitted for
each relabelling, and not the AUROC itself. That would cost a thousand times as much at every place;
the nested AUROC, of which a sentence is told, has a p of its own (`refits.refit_null`)."""

P_OF_NESTED = "refits of this AUROC, each fold choosing its place anew"
"""What the p on the row of the nested AUROC tests."""


UNTESTED = {"p": np.nan, "p_of": "", "p_corrected": np.nan, "p_max_t": np.nan, "least_p": np.nan}


@dataclass(frozen=True, slots=True)
class Task:
    """A question: its design, with the folds and relabellings that all sites share."""

    name: str
    design: Design
    folds: Folds
    labellings: Int[np.ndarray, "draw item"]
    seed: int

    @property
    def y(self) -> Shaped[np.ndarray, " item"]:
        """The label of every item."""
        return self.design.y

    @property
    def groups(self) -> Shaped[np.ndarray, " item"]:
        """The scenario of every item."""
        return self.design.groups


@dataclass(frozen=True, slots=True)
class Sweep:
    """Rows of a tidy table and the warnings that belong beside them; and what was told of each text
    where every fold chose its place, with what is to be written of that (None: nothing was chosen);
    the scores by layer, where depths were asked for; and what the text baselines told of each text.
    """

    rows: list[dict[str, Any]]
    warnings: tuple[str, ...]
    told: Predictions | None = None
    place: PlaceColumns = field(default_factory=dict)
    depths: Sequence[LayerScores] = ()
    texts: Mapping[str, Predictions] = field(default_factory=dict)


class Probed(NamedTuple):
    """One site: its rows, its permutation null, its warnings, and the held-out predictions."""

    rows: list[dict[str, Any]]
    null: Null
    warnings: tuple[str, ...]
    predictions: Predictions


def prepare(
    name: str, design: Design, *, n_splits: int = 5, n_perm: int = 1000, seed: int = 0
) -> Task:
    """The task `name` (reception, categorisation, ...) of a design (`Design.infer`).

    Scenarios are named anew, by number in order of first appearance, so that no draw depends on
    what a file calls them. Raises as `grouped_folds` and `Design.relabel`.
    """
    design = replace(design, groups=numbered(design.groups).astype(str))
    folds = grouped_folds(design.y, design.groups, n_splits=n_splits, seed=seed)
    return Task(
        name, design, folds, relabellings(design, folds=folds, n_perm=n_perm, seed=seed), seed
    )


def probe_rows(
    x: Float[np.ndarray, "item feature"],
    task: Task,
    *,
    probe: str = PROBE,
    control: bool = True,
    nuisances: Mapping[str, Labels] | None = None,
    beside: Sequence[str] = (),
) -> Probed:
    """Rows for one site (task, method, control, target, metric, value, ci_low, ci_high, n, p,
    p_of), its permutation null, its warnings and its predictions.

    `control` adds the row of what the probe can learn by heart, marked "memorisation"; `nuisances`
    (name -> a label per item) add rows marked "nuisance", with the name under `target`; `beside`
    names what else is measured (`beside.BESIDE_PROBES`). `p` stands on the AUROC's row and is that
    of `permutation_null` (`P_OF_RIDGE`). Raises as `cross_validate`.
    """
    features = FoldFeatures(x)
    predictions = cross_validate(features, task.y, task.groups, folds=task.folds, probe=probe)
    null = permutation_null(x, task.labellings, folds=task.folds)
    found = [{"control": "", **row} for row in score(predictions)]
    if control:
        found += [
            {"control": "memorisation", **row}
            for row in memorisation(x, predictions, probe=probe, seed=task.seed)
        ]
    rivals = nuisance_rows(features, predictions, nuisances or {}, folds=task.folds, probe=probe)
    found += [{"control": "nuisance", **row} for row in rivals]
    place = ProbedPlace(
        features, task.y, task.groups, task.folds, predictions, nuisances or {}, probe, task.seed
    )
    found += [row for name in beside if name in AT_A_PLACE for row in AT_A_PLACE[name](place)]
    for row in found:
        tested = (
            {"p": null.p, "p_of": P_OF_RIDGE} if _is_headline(row) else {"p": np.nan, "p_of": ""}
        )
        row.update({"target": "", **row}, task=task.name, method=probe, **tested)
    return Probed(found, null, predictions.warnings, predictions)


def probe_sites(
    sites: Sites,
    task: Task,
    *,
    probe: str = PROBE,
    control: bool = True,
    nuisances: Mapping[str, Labels] | None = None,
    texts: Mapping[str, Predictions] | None = None,
    beside: Sequence[str] = (),
) -> Sweep:
    """`probe_rows` of every place, with p corrected over all of them.

    `sites()` gives what to write in a place's rows and its activations, place after place; it is
    called twice. `p_corrected` is Benjamini-Hochberg's over the places, `p_max_t` the family-wise
    one of the largest standardised statistic. Behind them the `nested_rows` of choosing a place by
    folds, beside the predictions from `texts`: `p` there is of that very AUROC (`P_OF_NESTED`),
    `p_max_t` the smallest of all places, `least_p` the smallest p that there can be. Raises
    `StatisticsError` when there is no place.
    """
    rows: list[dict[str, Any]] = []
    nulls: list[Null] = []
    inner: list[Float[np.ndarray, "fold draw"]] = []
    places: list[Mapping[str, Any]] = []
    told: list[Predictions] = []
    warnings: set[str] = set(_floor(task))
    asked = partial(
        probe_rows, task=task, probe=probe, control=control, nuisances=nuisances, beside=beside
    )
    at_place = partial(_at_place, asked=asked, task=task)
    for where, found, correlations in share_out(at_place, sites()):
        rows += [{**where, **row} for row in found.rows]
        nulls.append(found.null)
        inner.append(correlations)
        places.append(where)
        told.append(found.predictions)
        warnings.update(f"{task.name}: {one}" for one in found.warnings)
    if not nulls:
        raise StatisticsError("a sweep needs at least one site.")
    of_largest = _correct(rows, nulls)
    depths = layer_scores(places, told, seed=task.seed) if OVER_LAYERS in beside else []
    for row in (row for one in depths for row in depth_rows(one)):
        rows.append({**UNTESTED, "control": "", **row, "task": task.name, "method": probe})
    chosen = choose_places(np.array(inner))
    if chosen is None:
        warnings.add(
            f"{task.name}: too few scenarios to choose a place on some and score it on others."
        )
        return Sweep(rows, tuple(sorted(warnings)), depths=depths)
    own = joined(told, chosen[:, 0])
    p = refit_null(sites, own, chosen, _refitted(task), folds=task.folds, probe=probe).p
    told_p = {"p": p, "p_of": P_OF_NESTED, "p_max_t": float(of_largest.min())}
    least = max(least_relabelled_p(task.labellings), 1 / (1 + REFITS))
    tested = {NESTED_AUROC: {**told_p, "least_p": least}}
    for row in nested_rows(own, chosen[:, 0], places, texts or {}):
        rows.append(
            {
                **UNTESTED,
                **row,
                **tested.get(row["metric"], {}),
                "task": task.name,
                "method": probe,
            }
        )
    most = places[Counter(chosen[:, 0].tolist()).most_common(1)[0][0]]
    return Sweep(rows, tuple(sorted(warnings)), own, most, depths)


def _at_place(
    place: SiteRows, *, asked: Callable[..., Probed], task: Task
) -> tuple[PlaceColumns, Probed, Float[np.ndarray, "fold draw"]]:
    """What one place gives to a sweep: what to write in its rows, what was probed, and what each
    fold may choose it by.
    """
    where, x = place
    return where, asked(x), inner_correlations(x, _refitted(task), folds=task.folds)


def _refitted(task: Task) -> Int[np.ndarray, "draw item"]:
    """The labellings for which the nested AUROC is refitted."""
    return task.labellings[: REFITS + 1]


def _correct(rows: list[dict[str, Any]], nulls: Sequence[Null]) -> Float[np.ndarray, " site"]:
    """Write the corrected p of each place into the row of its AUROC; returns the family-wise
    ones.
    """
    over_sites = benjamini_hochberg(np.array([null.p for null in nulls]))
    of_largest = family_wise(nulls)
    for row in rows:
        row.update(p_corrected=np.nan, p_max_t=np.nan)
    headlines = [row for row in rows if _is_headline(row)]
    for row, corrected, largest in zip(headlines, over_sites, of_largest, strict=True):
        row.update(p_corrected=float(corrected), p_max_t=float(largest))
    return of_largest


def _floor(task: Task) -> Iterator[str]:
    """A warning where relabellings are so few that p cannot reach .05."""
    least = least_relabelled_p(task.labellings)
    if least > LEAST_P:
        yield (
            f"{task.name}: the scenarios allow {round(1 / least)} different relabellings, so no p "
            f"can fall below {least:.2f}: add scenarios."
        )


def family_wise(nulls: Sequence[Null]) -> Float[np.ndarray, " site"]:
    """`max_t` over the sites that differ between items; where all items are the same (the embedding
    of a common last token) no relabelling changes anything, and p is 1.
    """
    p = np.ones(len(nulls))
    varying = [place for place, null in enumerate(nulls) if null.draws.std() > 0]
    if varying:
        chosen = [nulls[place] for place in varying]
        p[varying] = max_t(
            np.array([null.observed for null in chosen]),
            np.stack([null.draws for null in chosen], axis=1),
        )
    return p


def text_predictions(texts: list[str], task: Task, *, lexicons: Lexicons) -> dict[str, Predictions]:
    """What each text baseline predicts on the task's own folds, by the baseline's name."""
    return predict_texts(texts, task.y, task.groups, folds=task.folds, lexicons=lexicons)


def text_score_rows(texts: Mapping[str, Predictions], task: Task) -> list[dict[str, Any]]:
    """`text_predictions` scored, as rows: `control` and `method` name the baseline, there is no
    site.
    """
    named = [(row.pop("baseline"), row) for row in baseline_rows(texts)]
    return [{"task": task.name, "control": name, "method": name, **row} for name, row in named]


def _is_headline(row: Mapping[str, Any]) -> bool:
    return row["metric"] == "auroc" and row["control"] == ""
