"""Zero-shot: its figure, and what may be said of it."""

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.dots import dots, names_down
from interp.reporting.finding import number_of
from interp.reporting.formatting import label, number
from interp.reporting.select import column, measured, numeral, select
from interp.reporting.style import GREY, explain, facets, look, styled

_ASKED = "zero_shot"
_NAMES = {
    "probe": "probe (other scenarios)",
    _ASKED: "asked: label words",
    "zero_shot_content_free": "asked, calibrated by N/A",
    "zero_shot_uncalibrated": "asked, not calibrated",
}
_SCORES = {"auroc": "AUROC (macro)", "accuracy": "accuracy"}
_SAYS = {
    Verdict.FOUND: "Asked by label words, the model tells the emotions apart, beyond what the "
    "words of the text tell a classifier",
    Verdict.NOT_TOLD_APART: "Asked by label words, the model tells the emotions apart, but not "
    "surely better than the words of the text tell a classifier",
    Verdict.NOT_FOUND: "That the model tells the emotions apart when it is asked by label words is "
    "not found",
    Verdict.INVERTED: "Asked by label words, the model ranks the emotions the wrong way round",
    Verdict.CANNOT_SAY: "Whether the model tells the emotions when it is asked cannot be said",
}
_READS = {
    Verdict.FOUND: "A probe reads more of the emotion than the model says when it is asked",
    Verdict.NOT_FOUND: "That a probe reads more of the emotion than the model says is not found",
    Verdict.INVERTED: "The model says more of the emotion when it is asked than the probe reads",
    Verdict.CANNOT_SAY: "Whether a probe reads more than the model says cannot be said",
}


def told_of_zero_shot(table: pd.DataFrame) -> list[str]:
    """The two sentences that may be said, each with its number: whether the model tells the
    emotions when it is asked, and whether the probe reads more than that.
    """
    asked = select(table, method=_ASKED, metric="auroc")
    right = select(table, method=_ASKED, metric="accuracy")
    words = select(table, method=_ASKED, metric="auroc_above")
    above_text = words[~column(words, "target").str.startswith(_ASKED)]
    probe = select(table, method="probe", metric="auroc_above", target=_ASKED)
    says = _SAYS[decide(number_of(asked), nothing=0.5, above=number_of(above_text))]
    reads = _READS[decide(number_of(probe), nothing=0.0)]
    least = 1 / numeral(right, "choices")
    return [
        f"{says} (AUROC {measured(asked)}; accuracy {measured(right)}, chance {number(least)}).",
        f"{reads} (difference of the AUROCs, paired by scenario, {measured(probe)}).",
    ]


@styled
def zero_shot_scores(table: pd.DataFrame) -> Figure:
    """AUROC and accuracy of the probe, of the model that is asked, and of the text baselines."""
    figure, axes = facets(len(_SCORES), columns=2, height=3.2, share=False)
    rows = select(table, metric="auroc")
    names = list(column(rows, "method"))
    for panel, (metric, title) in zip(axes, _SCORES.items(), strict=True):
        for down, name in enumerate(names):
            row = select(table, metric=metric, method=name)
            dots(panel, row, [down], look(min(down, len(_NAMES))))
        choices = numeral(select(table, metric="accuracy"), "choices")
        at = 0.5 if metric == "auroc" else 1 / choices
        panel.axvline(at, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)
        names_down(panel, [label(_NAMES.get(one, one)) for one in names])
        panel.set_xlabel(title)
    explain(
        figure,
        title="What the model says when it is asked, and what a probe reads",
        caption="All on the same texts. Whiskers are 95 % intervals over scenarios; dashed: "
        "chance. Probe and text baselines are fitted on other scenarios, label words on nothing.",
        rows=rows,
        unit="texts",
    )
    return figure
