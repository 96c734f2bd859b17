"""A reading beside its control on the same texts: the rows of both, and of their difference."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.causal.pooled import ALL
from interp.chance import benjamini_hochberg, sign_flip
from interp.results import TableRow, TableRows
from interp.stats import group_sums, mean_interval


def beside_rows(
    own: Float[np.ndarray, " text"],
    others: Mapping[str, Float[np.ndarray, " text"]],
    groups: np.ndarray,
    here: Mapping[str, Any],
    *,
    sign: int = 1,
) -> Iterator[TableRow]:
    """The mean of a reading; of each of `others`, by the name of the control; and of `sign` times
    the paired difference to it, under the metric's name with `_above_` and the control's.

    Rows of all emotions together have `p` that this is not above zero (signs of scenarios flipped).
    """
    yield {**here, "control": "", **mean_interval(own, groups)._asdict()}
    for name, other in others.items():
        yield {**here, "control": name, **mean_interval(other, groups)._asdict()}
        more = sign * (own - other)
        above = {**here, "control": "", "metric": f"{here['metric']}_above_{name}"}
        if here["emotion"] == ALL:
            above["p"] = sign_flip(group_sums(more, groups), side="above")
        yield {**above, **mean_interval(more, groups)._asdict()}


def with_corrected_p(rows: Iterable[TableRow], *, by: tuple[str, ...] = ("metric",)) -> TableRows:
    """The rows, where those with a `p` have `p_corrected` too: over all that have the same in the
    columns `by` (Benjamini and Hochberg 1995).
    """
    listed = [dict(row) for row in rows]
    families: dict[tuple[Any, ...], TableRows] = {}
    for row in listed:
        if "p" in row:
            families.setdefault(tuple(row[name] for name in by), []).append(row)
    for family in families.values():
        adjusted = benjamini_hochberg(np.array([row["p"] for row in family]))
        for row, p in zip(family, adjusted.tolist(), strict=True):
            row["p_corrected"] = p
    return listed
