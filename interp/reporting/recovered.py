"""Figure of what each ranking finds as the noise grows, where it is known what is planted."""

import pandas as pd
from matplotlib.figure import Figure

from interp.errors import DataError
from interp.reporting.formatting import label
from interp.reporting.select import column, numbers
from interp.reporting.style import chance, explain, facets, key, look, outer_labels, styled

_METHODS = {
    "exact_contribution": "contribution",
    "attribution": "one gradient",
    "integrated": "integrated gradients",
    "activation_patching": "exact patch",
}


@styled
def recovery_by_noise(table: pd.DataFrame) -> Figure:
    """AUROC of what is planted against all else, by the noise beside it (columns what, method,
    noise, value), a panel for heads, neurons, layers and positions. Raises `DataError` for an empty
    table.
    """
    whats = list(dict.fromkeys(column(table, "what")))
    if not whats:
        raise DataError("no noise was tried: there is nothing to draw.")
    figure, axes = facets(len(whats), columns=2, height=1.9)
    for panel, what in zip(axes, whats, strict=True):
        own = table[column(table, "what") == what]
        for place, (method, text) in enumerate(_METHODS.items()):
            mine = own[column(own, "method") == method]
            if len(mine):
                at, shape = numbers(mine, "noise"), look(place)
                value = numbers(mine, "value")
                panel.plot(at, value, color=shape.colour, marker=shape.marker, label=text)
        chance(panel, 0.5, "chance")
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter(lambda noise, _: f"{noise:g}")
        panel.set_ylim(-0.03, 1.05)
        panel.set_title(label(f"planted {what}s"))
    outer_labels(figure, axes, x="length of a word's identity (evidence: 1)", y="AUROC")
    key(figure)
    explain(
        figure,
        title="How much noise each ranking bears",
        caption="Planted heads, neurons, layers and deciding tokens against all others, the worst "
        "over the emotions; pairs that fitted nothing. Contributions are read at the last token "
        "alone and rank no position.",
        rows=table,
        unit="emotions per point",
    )
    return figure
