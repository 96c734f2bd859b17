"""Paths: their figure, and what may be said of them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import number_of, p_of, told_p
from interp.reporting.formatting import number, whole
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    column,
    holds,
    matrix,
    measured,
    numbers,
    numeral,
    select,
    with_values,
    word,
)
from interp.reporting.style import explain, facets, outer_labels, styled

_RECEIVERS = {
    "q": "into queries of a layer",
    "k": "into keys of a layer",
    "v": "into values of a layer",
    "mlp": "into the MLP of a layer, or the words",
}
_WORDS = "words"
_SENTENCES = {
    Verdict.FOUND: "The paths that the gradient ranks first in one half of the scenarios carry the "
    "emotion in the other half: patched exactly, one at a time, they move the answer towards it on "
    "average, more than random paths of the same senders do",
    Verdict.NOT_FOUND: "It was not found that the paths that the gradient ranks first carry the "
    "emotion in other scenarios more than random paths of the same senders do",
    Verdict.INVERTED: "The paths that the gradient ranks first move the answer away from the "
    "emotion in other scenarios",
    Verdict.CANNOT_SAY: "Whether the paths that the gradient ranks first carry the emotion in "
    "other scenarios cannot be said",
}


def said_of_paths(table: pd.DataFrame) -> list[str]:
    """What may be said of the paths that rank first, and how far the estimates are from the exact
    patches.
    """
    own = select(table, metric="chosen_effect", control="")
    verdict, told = _beyond_zero(own), [measured(own)]
    if holds(table, metric="above_random"):
        above = select(table, metric="above_random")
        more = _beyond_zero(above)
        if verdict is Verdict.FOUND and more is not Verdict.FOUND:
            verdict = Verdict.NOT_FOUND
        random = select(table, metric="chosen_effect", control="random")
        told.append(f"random ones {measured(random)}")
        told.append(f"{told_p(above, numeral(above, 'p'))}, by signs of scenarios")
    said = [f"{_SENTENCES[verdict]} (nats, {'; '.join(told)})."]
    if holds(table, metric="relative_error"):
        error = measured(select(table, metric="relative_error"))
        said.append(f"The estimates miss these exact patches by {error} of their size.")
    return said


def _beyond_zero(row: pd.DataFrame) -> Verdict:
    return decide(number_of(row), nothing=0.0, p=p_of(row, "p"), least_p=p_of(row, "least_p"))


def listed_paths(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The paths that were patched exactly, in the order of the table: why, the exact effect with
    its interval, and the estimate (nats towards the emotion).
    """
    rows = select(table, metric="path_effect")
    return [
        {
            "from": sender,
            "into": into,
            "chosen": word(row, "chosen"),
            "exact": measured(row),
            "estimated": number(numeral(row, "estimated")),
        }
        for sender, into, row in zip(
            _senders(rows), _receivers(rows), _one_by_one(rows), strict=True
        )
    ]


@styled
def path_map(table: pd.DataFrame) -> Figure:
    """The estimated effect of every path, sender by receiver: a panel for each input, the heads of
    a layer summed. Raises `DataError` for a table without paths.
    """
    rows = with_values(select(table, metric="estimated_path_effect"))
    rows = rows.assign(sender=_senders(rows), at=_places(rows))
    rows = rows.assign(panel=column(rows, "receiver").replace("logits", "mlp"))
    summed = rows.groupby(["sender", "panel", "at"], sort=False)["value"].sum().reset_index()
    senders = list(dict.fromkeys(rows["sender"]))
    shown = [name for name in _RECEIVERS if (summed["panel"] == name).any()]
    figure, axes = facets(len(shown), columns=2, height=0.24 * len(senders) + 1.1)
    limit = float(np.nanmax(np.abs(summed["value"].to_numpy(dtype=float)))) or 1.0
    places = sorted(set(rows["at"]), key=lambda at: (at == _WORDS, len(at), at))
    for panel, name in zip(axes, shown, strict=True):
        mine = summed[summed["panel"] == name]
        cells = matrix(mine["sender"], mine["at"], mine["value"], senders, places)
        heat(panel, cells, limit=limit)
        panel.set_title(_RECEIVERS[name])
    outer_labels(figure, axes, x="layer", y="from")
    colour_bar(figure, axes, "estimated effect (nats)")
    explain(
        figure,
        title="Which way the emotion goes: from a head or MLP into what later layers read",
        caption="All emotions together, on scenarios that chose no path; the heads of a layer are "
        "summed. Red: the answer moves towards the emotion. Grey: no path leads there. "
        f"{' '.join(said_of_paths(table))}",
        rows=rows,
        unit="pairs per path",
    )
    return figure


def _one_by_one(rows: pd.DataFrame) -> list[pd.DataFrame]:
    return [rows.iloc[[at]] for at in range(len(rows))]


def _receivers(rows: pd.DataFrame) -> list[str]:
    layers, heads = numbers(rows, "receiver_layer"), numbers(rows, "receiver_head")
    named = zip(column(rows, "receiver"), layers, heads, strict=True)
    return [_receiver(name, layer, head) for name, layer, head in named]


def _receiver(name: str, layer: float, head: float) -> str:
    if np.isnan(layer):
        return _WORDS
    if np.isnan(head):
        return f"MLP {whole(layer)}"
    return f"{name} of head {whole(layer)}.{whole(head)}"


def _senders(rows: pd.DataFrame) -> list[str]:
    layers, heads = numbers(rows, "layer"), numbers(rows, "head")
    return [
        f"MLP {whole(layer)}" if np.isnan(head) else f"head {whole(layer)}.{whole(head)}"
        for layer, head in zip(layers, heads, strict=True)
    ]


def _places(rows: pd.DataFrame) -> list[str]:
    layers = numbers(rows, "receiver_layer")
    return [_WORDS if np.isnan(layer) else whole(layer) for layer in layers]
