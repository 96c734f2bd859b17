"""One question asked of many sites: the probe's score, its control and its corrected p-value, as rows of one table.

What does not depend on the activations (folds, relabellings) is made once, in a `Task`; every site then costs a few fits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.analysis.baselines import Lexicons, baseline_rows
from interp.analysis.controls import Null, control_task, permutation_null, relabellings
from interp.analysis.folds import Folds, grouped_folds
from interp.analysis.probes import cross_validate, score
from interp.analysis.stats import Labels, benjamini_hochberg, max_t, numbered
from interp.errors import StatisticsError

SiteRows = tuple[Mapping[str, Any], Float[np.ndarray, "item feature"]]


@dataclass(frozen=True, slots=True)
class Task:
    """A question: the label `y` of every item and its scenario, with the folds and relabellings that all sites share."""

    name: str
    y: Shaped[np.ndarray, " item"]
    groups: Shaped[np.ndarray, " item"]
    folds: Folds
    labellings: Int[np.ndarray, "draw item"]
    seed: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Rows of a tidy table and the warnings that belong beside them."""

    rows: list[dict[str, Any]]
    warnings: tuple[str, ...]


def prepare(name: str, y: Labels, groups: Labels, *, n_splits: int = 5, n_perm: int = 1000, seed: int = 0) -> Task:
    """The task `name` (reception, categorisation, ...). Raises as `grouped_folds`.

    Scenarios are named anew, by number in order of first appearance, so that no draw depends on what a file calls them.
    """
    labels, scenarios = np.asarray(y).astype(str), numbered(groups).astype(str)
    folds = grouped_folds(labels, scenarios, n_splits=n_splits, seed=seed)
    drawn = relabellings(labels, scenarios, folds=folds, n_perm=n_perm, seed=seed)
    return Task(name, labels, scenarios, folds, drawn, seed)


def probe_rows(
    x: Float[np.ndarray, "item feature"], task: Task, *, probe: str = "logistic", control: bool = True, n_boot: int = 1000
) -> tuple[list[dict[str, Any]], Null, tuple[str, ...]]:
    """Rows for one site (task, method, control, metric, value, ci_low, ci_high, n, p), its permutation null, its warnings.

    `control` adds the Hewitt-Liang rows, marked "control_task". `p` stands on the AUROC's row: the refitted permutation test
    of `permutation_null`. Raises as `cross_validate`.
    """
    predictions = cross_validate(x, task.y, task.groups, folds=task.folds, probe=probe)
    null = permutation_null(x, task.labellings, folds=task.folds)
    found = [{"control": "", **row} for row in score(predictions, n_boot=n_boot, seed=task.seed)]
    if control:
        rows = control_task(x, predictions, probe=probe, n_boot=n_boot, seed=task.seed)
        found += [{"control": "control_task", **row} for row in rows]
    for row in found:
        row.update(task=task.name, method=probe, p=null.p if _is_headline(row) else np.nan)
    return found, null, predictions.warnings


def sweep(sites: Iterable[SiteRows], task: Task, *, probe: str = "logistic", control: bool = True, n_boot: int = 1000) -> Sweep:
    """`probe_rows` of every (what to write in its rows, x), with p corrected over all of them.

    `p_corrected` is Benjamini-Hochberg's over the sites, `p_max_t` the family-wise one of the largest standardised statistic.
    Raises `StatisticsError` when there is no site.
    """
    rows: list[dict[str, Any]] = []
    nulls: list[Null] = []
    warnings: set[str] = set()
    for where, x in sites:
        found, null, told = probe_rows(x, task, probe=probe, control=control, n_boot=n_boot)
        rows += [{**where, **row} for row in found]
        nulls.append(null)
        warnings.update(f"{task.name}: {one}" for one in told)
    if not nulls:
        raise StatisticsError("a sweep needs at least one site.")
    over_sites = benjamini_hochberg(np.array([null.p for null in nulls]))
    of_largest = _family_wise(nulls)
    headlines = [row for row in rows if _is_headline(row)]
    for row in rows:
        row.update(p_corrected=np.nan, p_max_t=np.nan)
    for row, corrected, largest in zip(headlines, over_sites, of_largest, strict=True):
        row.update(p_corrected=float(corrected), p_max_t=float(largest))
    return Sweep(rows, tuple(sorted(warnings)))


def _family_wise(nulls: Sequence[Null]) -> Float[np.ndarray, " site"]:
    """`max_t` over the sites that differ between items; where all items are the same (the embedding of a common last token)
    no relabelling changes anything, and p is 1.
    """
    p = np.ones(len(nulls))
    varying = [place for place, null in enumerate(nulls) if null.draws.std() > 0]
    if varying:
        chosen = [nulls[place] for place in varying]
        p[varying] = max_t(np.array([null.observed for null in chosen]), np.stack([null.draws for null in chosen], axis=1))
    return p


def text_rows(texts: list[str], task: Task, *, lexicons: Lexicons) -> list[dict[str, Any]]:
    """The text baselines on the task's own folds, as rows: `control` and `method` name the baseline, there is no site."""
    rows = baseline_rows(texts, task.y, task.groups, folds=task.folds, lexicons=lexicons, seed=task.seed)
    named = [(row.pop("baseline"), row) for row in rows]
    return [{"task": task.name, "control": name, "method": name, **row} for name, row in named]


def _is_headline(row: Mapping[str, Any]) -> bool:
    return row["metric"] == "auroc" and row["control"] == ""
