"""A half-life in words, no surer than its bounds."""

import pandas as pd

from interp.reporting.formatting import whole
from interp.reporting.select import numbers, numeral


def half_life_told(half: pd.DataFrame, kept: pd.DataFrame, unit: str) -> str:
    """The first row of `half` as a number of `unit` with its interval, or how far it is known;
    `kept` holds the shares that are left by `offset`.
    """
    behind = numbers(kept, "offset")
    last = whole(float(behind.max()))
    value, low, high = (numeral(half, name) for name in ("value", "half_low", "half_high"))
    if low != low:
        sure = bool((numbers(kept, "ci_low")[behind > 0] > 0.5).all())
        return f"surely more than {last} {unit}" if sure else "cannot be said: there is no interval"
    if value != value:
        return f"more than {last} {unit}, at least {low:.1f}"
    upper = f"and no upper bound within {last}" if high != high else f"to {high:.1f}"
    return f"{value:.1f} {unit} ({low:.1f} {upper})"
