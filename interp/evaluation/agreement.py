"""How far two judges agree: Cohen's kappa, with an interval over the prompts' scenarios."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import cohen_kappa_score

from interp.errors import StatisticsError
from interp.results import TableRow, TableRows
from interp.stats import N_DRAWS, Labels, numbered

Verdicts = Sequence[str | None]

_DIGITS = 12
"""What is beyond is rounding."""

SILENT = "no verdict"
"""The verdict of a judge that gives none, as one of its own."""


def agreement(
    first: Verdicts, second: Verdicts, groups: Labels | None = None, *, seed: int = 0
) -> TableRow:
    """Cohen's kappa of two judges' verdicts on the same continuations: 1 agree, 0 no more than by
    chance. "No verdict" counts as a verdict of its own. Cohen (1960).

    Its 95 % interval is of the bootstrap: whole `groups` (without any: single texts) are drawn
    1000 times; a draw in which both judges say one and the same of all texts has no kappa and is
    left out, and with fewer than two groups there is no interval. Returns `metric`, `value`,
    `ci_low`, `ci_high`, `n`. Raises `StatisticsError` for lists of unequal length or none, or when
    both judges give one and the same verdict throughout, since chance agreement is then complete
    and kappa undefined.
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
    of = numbered(np.arange(len(a)) if groups is None else groups)
    low, high = _bootstrapped(_tables(a, b, of), np.random.default_rng(seed))
    value = float(cohen_kappa_score(a, b))
    return {"metric": "kappa", "value": value, "ci_low": low, "ci_high": high, "n": len(a)}


def agreement_rows(verdicts: Mapping[str, Verdicts], groups: Labels, *, seed: int = 0) -> TableRows:
    """Rows of `kappa` of every two judges, the second under `target`. Two that say one and the same
    of all texts have no kappa: their value is NaN.
    """
    rows: TableRows = []
    for one, other in combinations(verdicts, 2):
        try:
            found = agreement(verdicts[one], verdicts[other], groups, seed=seed)
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


def _tables(
    a: Sequence[str], b: Sequence[str], group: Int[np.ndarray, " text"]
) -> Float[np.ndarray, "group one other"]:
    """How often the judges said what together, for each group."""
    labels = sorted({*a, *b})
    tables = np.zeros((int(group.max()) + 1, len(labels), len(labels)))
    np.add.at(tables, (group, np.searchsorted(labels, a), np.searchsorted(labels, b)), 1)
    return tables


def _bootstrapped(
    tables: Float[np.ndarray, "group one other"], rng: np.random.Generator
) -> tuple[float, float]:
    n = len(tables)
    if n < 2:
        return np.nan, np.nan
    weights = rng.multinomial(n, np.full(n, 1 / n), size=N_DRAWS).astype(float)
    drawn = kappas(np.einsum("dg,gij->dij", weights, tables))
    low, high = np.nanquantile(drawn, (0.025, 0.975)).round(_DIGITS).tolist()
    return float(low), float(high)
