"""How far two judges agree: Cohen's kappa, with an interval over the prompts' scenarios."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from interp.errors import StatisticsError
from interp.results import TableRow, TableRows
from interp.shares import most_differing
from interp.stats import (
    EQUAL_WITHIN,
    Estimate,
    Labels,
    estimate_of,
    numbered,
    reach_of,
    without_each,
)

Verdicts = Sequence[str | None]

SILENT = "no verdict"
"""The verdict of a judge that gives none, as one of its own."""

_LARGEST = 1 - 1e-9


def agreement(first: Verdicts, second: Verdicts, groups: Labels | None = None) -> TableRow:
    """Cohen's kappa of two judges' verdicts on the same continuations: 1 agree, 0 no more than by
    chance. "No verdict" counts as a verdict of its own. Cohen (1960).

    Its 95 % interval leaves out each of the `groups` in turn (without any: each text), on the scale
    of arctanh, since a kappa is skewed near 1; where leaving out changes nothing (both agree on all
    texts, most often) its bounds say in how many groups they may differ
    (`interp.shares.most_differing`). With fewer than two groups, or where kappa needs every group,
    there is no interval. Returns `metric`, `value`, `ci_low`, `ci_high`, `n`. Raises
    `StatisticsError` for lists of unequal length or none, or when both judges give one and the same
    verdict throughout, since chance agreement is then complete and kappa undefined.
    """
    if len(first) != len(second) or not first:
        raise StatisticsError(
            f"agreement needs two verdicts on each text, and there are {len(first)} and "
            f"{len(second)}."
        )
    a, b = ([SILENT if one is None else one for one in given] for given in (first, second))
    if len({*a, *b}) == 1:
        raise StatisticsError(
            f"both judges say {a[0]!r} of all {len(a)} texts: kappa is undefined; judge texts "
            "that differ."
        )
    of = np.arange(len(a)) if groups is None else numbered(groups)
    return {"metric": "kappa", **_estimated(_said(a, b), of)._asdict()}


def agreement_rows(verdicts: Mapping[str, Verdicts], groups: Labels) -> TableRows:
    """Rows of `kappa` of every two judges, the second under `target`. Two that say one and the same
    of all texts have no kappa: their value is NaN.
    """
    rows: TableRows = []
    for one, other in combinations(verdicts, 2):
        try:
            found = agreement(verdicts[one], verdicts[other], groups)
        except StatisticsError:
            found = {"metric": "kappa", "value": np.nan, "n": len(verdicts[one])}
        rows.append({"judge": one, "target": other, **found})
    return rows


def kappas(tables: Float[np.ndarray, "draw one other"]) -> Float[np.ndarray, " draw"]:
    """Cohen's kappa of each table of counts; NaN where chance agreement is complete."""
    shares = tables / tables.sum(axis=(1, 2), keepdims=True)
    observed = np.einsum("dii->d", shares)
    chance = np.einsum("di,di->d", shares.sum(axis=2), shares.sum(axis=1))
    room = np.where(chance < 1, 1 - chance, np.nan)
    return (observed - chance) / room


def _said(a: Sequence[str], b: Sequence[str]) -> Float[np.ndarray, "text one other"]:
    """Of each text, what the judges said together: 1 in one cell."""
    labels = sorted({*a, *b})
    cells = np.zeros((len(a), len(labels), len(labels)))
    cells[np.arange(len(a)), np.searchsorted(labels, a), np.searchsorted(labels, b)] = 1
    return cells


def _estimated(
    said: Float[np.ndarray, "text one other"], groups: Int[np.ndarray, " text"]
) -> Estimate:
    value, left_out, n = without_each(
        lambda weights: kappas(np.einsum("dt,tij->dij", weights, said)), groups
    )
    if not np.isfinite(left_out).all():
        return Estimate(value, np.nan, np.nan, len(said))
    if (np.abs(left_out - value) <= EQUAL_WITHIN).all():
        shares = said.mean(axis=0)
        chance = float(shares.sum(axis=1) @ shares.sum(axis=0))
        heaviest = float(np.bincount(groups).max()) / len(groups)
        reach = most_differing(n, heaviest) / (1 - chance)
        return estimate_of(value, max(value - reach, -1.0), min(value + reach, 1.0), len(said))
    known = float(np.clip(value, -_LARGEST, _LARGEST))
    middle, reach = float(np.arctanh(known)), reach_of(left_out) / (1 - known**2)
    low, high = np.tanh([middle - reach, middle + reach]).tolist()
    return estimate_of(value, low, high, len(said))
