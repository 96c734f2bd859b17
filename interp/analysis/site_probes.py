"""One question asked of many sites: the probe's score, its control and its corrected p-value, as
rows of one table.

What does not depend on the activations (folds, relabellings) is made once, in a `Task`; every site
then costs a few fits.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.analysis.baselines import Lexicons, baseline_rows, predict_texts
from interp.analysis.controls import (
    Null,
    memorisation,
    nuisance_rows,
    permutation_null,
    relabellings,
)
from interp.analysis.design import Design
from interp.analysis.folds import Folds, grouped_folds
from interp.analysis.nested import NESTED_AUROC, nested_rows
from interp.analysis.predictions import Predictions, score
from interp.analysis.probes import cross_validate
from interp.analysis.stats import max_t
from interp.chance import benjamini_hochberg
from interp.defaults import PROBE
from interp.errors import StatisticsError
from interp.stats import Labels, numbered

SiteRows = tuple[Mapping[str, Any], Float[np.ndarray, "item feature"]]


P_OF = "permutation of a ridge probe"
"""What the p on an AUROC's row tests: the held-out correlation of a ridge probe, refitted for each
relabelling, and not the AUROC itself (`controls.refit_null` does that, at a thousand times the
cost).
"""


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
    """Rows of a tidy table and the warnings that belong beside them."""

    rows: list[dict[str, Any]]
    warnings: tuple[str, ...]


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
) -> Probed:
    """Rows for one site (task, method, control, target, metric, value, ci_low, ci_high, n, p,
    p_of), its permutation null, its warnings and its predictions.

    `control` adds the row of what the probe can learn by heart, marked "memorisation"; `nuisances`
    (name -> a label per item) add rows marked "nuisance", with the name under `target`. `p` stands
    on the AUROC's row and is that of `permutation_null` (`P_OF`). Raises as `cross_validate`.
    """
    predictions = cross_validate(x, task.y, task.groups, folds=task.folds, probe=probe)
    null = permutation_null(x, task.labellings, folds=task.folds)
    found = [{"control": "", **row} for row in score(predictions)]
    if control:
        found += [
            {"control": "memorisation", **row}
            for row in memorisation(x, predictions, probe=probe, seed=task.seed)
        ]
    rivals = nuisance_rows(x, predictions, nuisances or {}, folds=task.folds, probe=probe)
    found += [{"control": "nuisance", **row} for row in rivals]
    for row in found:
        tested = {"p": null.p, "p_of": P_OF} if _is_headline(row) else {"p": np.nan, "p_of": ""}
        row.update({"target": "", **row}, task=task.name, method=probe, **tested)
    return Probed(found, null, predictions.warnings, predictions)


def probe_sites(
    sites: Iterable[SiteRows],
    task: Task,
    *,
    probe: str = PROBE,
    control: bool = True,
    nuisances: Mapping[str, Labels] | None = None,
    texts: Mapping[str, Predictions] | None = None,
) -> Sweep:
    """`probe_rows` of every (what to write in its rows, x), with p corrected over all of them.

    `p_corrected` is Benjamini-Hochberg's over the sites, `p_max_t` the family-wise one of the
    largest standardised statistic. Behind them the `nested_rows` of choosing a site by folds,
    beside the predictions from `texts`; `p_max_t` there is the smallest of all sites. Raises
    `StatisticsError` when there is no site.
    """
    rows: list[dict[str, Any]] = []
    nulls: list[Null] = []
    places: list[Mapping[str, Any]] = []
    told: list[Predictions] = []
    warnings: set[str] = set()
    for where, x in sites:
        found = probe_rows(x, task, probe=probe, control=control, nuisances=nuisances)
        rows += [{**where, **row} for row in found.rows]
        nulls.append(found.null)
        places.append(where)
        told.append(found.predictions)
        warnings.update(f"{task.name}: {one}" for one in found.warnings)
    if not nulls:
        raise StatisticsError("a sweep needs at least one site.")
    warnings.update(_floor(task))
    over_sites = benjamini_hochberg(np.array([null.p for null in nulls]))
    of_largest = _family_wise(nulls)
    nested = nested_rows(told, places, texts or {})
    if not nested:
        warnings.add(
            f"{task.name}: too few scenarios to choose a place on some and score it on others."
        )
    rows += [{"p": np.nan, "p_of": "", **row, "task": task.name, "method": probe} for row in nested]
    headlines = [row for row in rows if _is_headline(row)]
    for row in rows:
        row.update(p_corrected=np.nan, p_max_t=np.nan)
    for row, corrected, largest in zip(headlines, over_sites, of_largest, strict=True):
        row.update(p_corrected=float(corrected), p_max_t=float(largest))
    for row in rows:
        if row["metric"] == NESTED_AUROC:
            row.update(
                p_max_t=float(of_largest.min()), p_of=f"the largest of {len(nulls)} places, {P_OF}"
            )
    return Sweep(rows, tuple(sorted(warnings)))


def _floor(task: Task) -> Iterator[str]:
    """A warning where relabellings are so few that p cannot reach .05."""
    drawn = task.labellings
    if drawn.max() == 1:  # classes named the other way round score the same
        drawn = drawn ^ drawn[:, :1]
    n = len(np.unique(drawn, axis=0))
    if 1 / n > 0.05:
        yield (
            f"{task.name}: the scenarios allow {n} different relabellings, so no p can fall "
            f"below {1 / n:.2f}: add scenarios."
        )


def _family_wise(nulls: Sequence[Null]) -> Float[np.ndarray, " site"]:
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
