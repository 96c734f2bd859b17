"""The rows of a table of persistence: each offset beside the relabelled texts and the words."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from interp.analysis.baselines import BASELINES, READER, Lexicons
from interp.analysis.nested import ABOVE_TEXT
from interp.analysis.persistence import Followed, half_life, retained
from interp.analysis.predictions import Predictions, auroc_share
from interp.analysis.probes import predict_folds
from interp.results import TableRow
from interp.shares import Share, share_difference
from interp.stats import Estimate

RETAINED, HALF_LIFE = "retained", "half_life"
SHUFFLED, OWN = "shuffled", "own"
P_OF = "refits of this AUROC, scenarios' labels changed at all offsets at once"

FOLLOWED_BY = "ridge"


def persistence_rows(told: Followed, words: Mapping[str, Predictions]) -> list[TableRow]:
    """Rows of the probe at each `offset`, of the labels shuffled over scenarios (`control`), of a
    probe that was fitted at that offset itself ("own"), and of each text baseline, which is the
    same at every offset (its row has none).

    metric       value
    auroc        macro AUROC, held out; of `control` "shuffled" the mean of the relabellings, with
                 the range of nine of ten (`draw_low`, `draw_high`)
    above_text   the probe's AUROC less that of the best text baseline, `target`, paired by scenario
    retained     the margin as a share of that at offset 0 (two labels only)
    half_life    the offset at which that falls to one half; NaN: at none that was read. Its bounds
                 stand in `half_low` and `half_high`, since one of them may be open

    `p` is of the offset alone, `p_max_t` beside all offsets. There is no share and no half-life
    where the probe does not surely read the texts' last tokens.
    """
    own = [auroc_share(one) for one in told.told]
    rows = [*_aurocs(told, own), *_words(told, own, words)]
    if len(told.told[0].classes) == 2 and rows[0]["ci_low"] > 0.5:
        rows += _margins(told)
    return [{**_NONE, "method": FOLLOWED_BY, **row} for row in rows]


_NONE = {
    "control": "", "target": "", "offset": np.nan, "p": np.nan, "p_of": "", "p_max_t": np.nan,
    "least_p": np.nan, "draw_low": np.nan, "draw_high": np.nan,
    "half_low": np.nan, "half_high": np.nan,
}  # fmt: skip


def words_alone(told: Followed, texts: Sequence[str], lexicons: Lexicons) -> dict[str, Predictions]:
    """What each text baseline tells of the texts, without any continuation, on the folds of the
    probe; with the middle one of its penalties, as the probe has one that nothing chose.
    """
    one = told.told[0]
    middle = (READER.grid[len(READER.grid) // 2],)
    return {
        name: predict_folds(
            prepare(texts, lexicons),
            one.y,
            one.groups,
            folds=told.folds,
            kind=READER,
            grids=[middle] * len(told.folds),
        )
        for name, prepare in BASELINES.items()
    }


def _aurocs(told: Followed, own: Sequence[Share]) -> Iterator[TableRow]:
    alone, several = told.p.tolist(), told.p_max_t.tolist()
    for at, offset in enumerate(told.offsets):
        found = own[at].estimate(told.told[at].groups)
        p = {"p": alone[at], "p_of": P_OF, "p_max_t": several[at], "least_p": told.least_p}
        yield {"metric": "auroc", "offset": offset, **found._asdict(), **p}
    for offset, one in zip(told.offsets, told.own, strict=True):
        itself = auroc_share(one).estimate(one.groups)
        yield {"metric": "auroc", "offset": offset, "control": OWN, **itself._asdict()}
    for offset, null in zip(told.offsets, told.nulls, strict=True):
        low, high = np.quantile(null.draws, (0.05, 0.95)).tolist()
        drawn = {"value": float(null.draws.mean()), "draw_low": low, "draw_high": high}
        shuffled = {"metric": "auroc", "offset": offset, "control": SHUFFLED, **drawn}
        yield {**shuffled, "ci_low": np.nan, "ci_high": np.nan, "n": len(told.told[0].y)}


def _words(
    told: Followed, own: Sequence[Share], words: Mapping[str, Predictions]
) -> Iterator[TableRow]:
    found = {name: auroc_share(text) for name, text in words.items()}
    groups, best = told.told[0].groups, ("", -np.inf)
    for name, share in found.items():
        estimate = share.estimate(groups)
        best = max(best, (name, estimate.value), key=lambda one: one[1])
        yield {"metric": "auroc", "control": name, "method": name, **estimate._asdict()}
    if not found:
        return
    for offset, share in zip(told.offsets, own, strict=True):
        above = share_difference(share, found[best[0]], groups)
        common = {"metric": ABOVE_TEXT, "target": best[0], "offset": offset}
        yield {**common, **above._asdict()}


def _margins(told: Followed) -> Iterator[TableRow]:
    kept = retained(told)
    for offset, one in zip(told.offsets, kept, strict=True):
        yield {"metric": RETAINED, "offset": offset, **one._asdict()}
    yield half_life_row(told.offsets, kept)


def half_life_row(offsets: tuple[int, ...], kept: tuple[Estimate, ...]) -> TableRow:
    """The row of the half-life of retained shares: its interval where both bounds are reached, and
    the bounds that are as `half_low` and `half_high`.
    """
    half = half_life(offsets, kept)
    bounds = {"half_low": half.ci_low, "half_high": half.ci_high}
    closed = bool(np.isfinite([half.value, half.ci_low, half.ci_high]).all())
    interval = (half.ci_low, half.ci_high) if closed else (np.nan, np.nan)
    found = {"value": half.value, "ci_low": interval[0], "ci_high": interval[1], "n": half.n}
    return {"metric": HALF_LIFE, **found, **bounds}
