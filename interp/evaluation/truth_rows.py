"""A row of the table of truths: what a method found, where it is known."""

from typing import Any

Row = dict[str, Any]
"""What was asked, by which method, in which metric, with which value, and where."""


def row(what: str, method: str, metric: str, value: float, where: object = "") -> Row:
    """The row of one number."""
    return {
        "what": what,
        "method": method,
        "metric": metric,
        "value": float(value),
        "where": str(where),
    }
