"""A reading beside its control on the same texts: the rows of both, and of their difference."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.causal.pooled import ALL
from interp.chance import benjamini_hochberg, least_flip_p, sign_flip
from interp.results import TableRow, TableRows
from interp.stats import Labels, group_sums, mean_interval


def beside_rows(
    own: Float[np.ndarray, " text"],
    others: Mapping[str, Float[np.ndarray, " text"]],
    groups: np.ndarray,
    here: Mapping[str, Any],
    *,
    sign: int = 1,
    of_itself: bool = False,
) -> Iterator[TableRow]:
    """The mean of a reading; of each of `others`, by the name of the control; and of `sign` times
    the paired difference to it, under the metric's name with `_above_` and the control's.

    Rows of all emotions together have the `p` of `tested_mean`, that this is not above zero. With
    `of_itself` it is the larger of that and of the p that `sign` times the reading itself is not
    above zero, for a claim of both (Berger 1982): a control may move the other way, and what stands
    still is above it then.
    """
    yield {**here, "control": "", **mean_interval(own, groups)._asdict()}
    for name, other in others.items():
        yield {**here, "control": name, **mean_interval(other, groups)._asdict()}
        more = sign * (own - other)
        above = {**here, "control": "", "metric": f"{here['metric']}_above_{name}"}
        if here["emotion"] == ALL:
            found = tested_mean(more, groups)
            if of_itself:
                found["p"] = max(found["p"], tested_mean(sign * own, groups)["p"])
            yield {**above, **found}
        else:
            yield {**above, **mean_interval(more, groups)._asdict()}


def tested_mean(values: Float[np.ndarray, " text"], groups: Labels) -> TableRow:
    """The mean with its interval over groups, `p` that it is not above zero (signs of groups
    flipped), and `least_p`, the smallest that so many groups can give.
    """
    sums = group_sums(values, groups)
    tested = {"p": sign_flip(sums, side="above"), "least_p": least_flip_p(len(sums))}
    return {**mean_interval(values, groups)._asdict(), **tested}


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
