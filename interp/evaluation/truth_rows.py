"""A row of the table of truths: what a method found, where it is known."""

from interp.results import TableRow


def row(what: str, method: str, metric: str, value: float, where: object = "") -> TableRow:
    """The row of one number."""
    return {
        "what": what,
        "method": method,
        "metric": metric,
        "value": float(value),
        "where": str(where),
    }
