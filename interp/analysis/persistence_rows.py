"""The rows of a table of persistence: each offset beside the relabelled texts and the words."""

from collections.abc import Iterator, Mapping

import numpy as np

from interp.analysis.nested import ABOVE_TEXT
from interp.analysis.persistence import Followed, half_life, retained
from interp.analysis.predictions import Predictions, auroc_share
from interp.results import TableRow
from interp.shares import share_difference

RETAINED, HALF_LIFE = "retained", "half_life"
SHUFFLED = "shuffled"
P_OF = "refits of this AUROC, scenarios' labels changed at all offsets at once"

METHOD = "ridge"


def persistence_rows(told: Followed, words: Mapping[str, Predictions]) -> list[TableRow]:
    """Rows of the probe at each `offset`, of the labels shuffled over scenarios (`control`), and of
    each text baseline, which is the same at every offset (its row has none).

    metric       value
    auroc        macro AUROC, held out; of `control` "shuffled" the mean of the relabellings, with
                 the range of nine of ten (`draw_low`, `draw_high`)
    above_text   the probe's AUROC less that of the baseline `target`, paired by scenario
    retained     the margin as a share of that at offset 0 (two labels only)
    half_life    the offset at which that falls to one half; NaN: at none that was read. Its bounds
                 stand in `half_low` and `half_high`, since one of them may be open

    `p` is of the offset alone, `p_max_t` beside all offsets. There is no share and no half-life
    where the probe does not surely read the texts' last tokens.
    """
    rows = [*_aurocs(told), *_words(told, words)]
    first = auroc_share(told.told[0]).estimate(told.told[0].groups)
    if len(told.told[0].classes) == 2 and first.ci_low > 0.5:
        rows += _margins(told)
    return [{**_NONE, "method": METHOD, **row} for row in rows]


_NONE = {
    "control": "", "target": "", "offset": np.nan, "p": np.nan, "p_of": "", "p_max_t": np.nan,
    "draw_low": np.nan, "draw_high": np.nan, "half_low": np.nan, "half_high": np.nan,
}  # fmt: skip


def _aurocs(told: Followed) -> Iterator[TableRow]:
    several = told.p_max_t
    for at, offset in enumerate(told.offsets):
        one, null = told.told[at], told.nulls[at]
        p = {"p": float(told.p[at]), "p_of": P_OF, "p_max_t": float(several[at])}
        own = auroc_share(one).estimate(one.groups)
        yield {"metric": "auroc", "offset": offset, **own._asdict(), **p}
        low, high = np.quantile(null.draws, (0.05, 0.95)).tolist()
        drawn = {"value": float(null.draws.mean()), "draw_low": low, "draw_high": high}
        shuffled = {"metric": "auroc", "offset": offset, "control": SHUFFLED, **drawn}
        yield {**shuffled, "ci_low": np.nan, "ci_high": np.nan, "n": own.n}


def _words(told: Followed, words: Mapping[str, Predictions]) -> Iterator[TableRow]:
    for name, text in words.items():
        by_words = auroc_share(text)
        estimate = by_words.estimate(text.groups)
        yield {"metric": "auroc", "control": name, "method": name, **estimate._asdict()}
        for offset, one in zip(told.offsets, told.told, strict=True):
            above = share_difference(auroc_share(one), by_words, one.groups)
            common = {"metric": ABOVE_TEXT, "target": name, "offset": offset}
            yield {**common, **above._asdict()}


def _margins(told: Followed) -> Iterator[TableRow]:
    kept = retained(told)
    for offset, one in zip(told.offsets, kept, strict=True):
        yield {"metric": RETAINED, "offset": offset, **one._asdict()}
    half = half_life(told.offsets, kept)
    bounds = {"half_low": half.ci_low, "half_high": half.ci_high}
    closed = bool(np.isfinite([half.value, half.ci_low, half.ci_high]).all())
    interval = (half.ci_low, half.ci_high) if closed else (np.nan, np.nan)
    found = {"value": half.value, "ci_low": interval[0], "ci_high": interval[1], "n": half.n}
    yield {"metric": HALF_LIFE, **found, **bounds}
