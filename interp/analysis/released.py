"""Release: does a steered emotion outlast its steering?

The first tokens of a text are written under an emotion's direction; then it is let go, and the
model writes on. What is read along that direction k tokens later is held against three things:

    unsteered   the same prompt continued without any direction: what the shift is from
    random      a random direction of the same length in its place
    reread      the very text that was written, read by the unsteered model from its beginning: what
                the words alone carry. What is beyond that stands in what the model kept of the
                steered tokens (its keys and values)

The items are an emotion and a prompt each, the scenarios are the prompts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.analysis.persistence_rows import RETAINED, half_life_row
from interp.results import TableRow, TableRows
from interp.shares import Share, share_difference
from interp.stats import Estimate, mean_interval, mean_of, ratio_interval

STEERED_FIRST, AT_RANDOM, REREAD, NEVER_STEERED = "", "random", "reread", "unsteered"
"""The arms, as tables name them (`control`)."""

OfEmotion = Float[np.ndarray, "emotion prompt offset"]


def released_rows(readings: Mapping[str, OfEmotion], offsets: Sequence[int]) -> TableRows:
    """Rows by the `offset` behind the last steered token (0), in natural lengths, all emotions
    together; `readings` has those of each arm, NaN where a text ended before.

    metric        value
    shift         an arm's reading less the unsteered one's
    shift_above   that of the direction less that of `target` (random, reread), paired
    retained      that of the direction as a share of its value at offset 0
    half_life     the offset at which that falls to one half; NaN: at none that was read. Its bounds
                  stand in `half_low` and `half_high`

    There is no share and no half-life where steering does not surely shift what is read at offset
    0.
    """
    n_prompts = readings[STEERED_FIRST].shape[1]
    prompts = np.tile(np.arange(n_prompts), len(readings[STEERED_FIRST]))
    shifts = {
        arm: readings[arm] - readings[NEVER_STEERED] for arm in (STEERED_FIRST, AT_RANDOM, REREAD)
    }
    flat = {arm: one.reshape(-1, len(offsets)) for arm, one in shifts.items()}
    there = np.isfinite(np.stack(list(flat.values()))).all(axis=0)
    rows: TableRows = []
    for at, offset in enumerate(offsets):
        kept = there[:, at]
        if not kept.any():
            continue
        own, told = flat[STEERED_FIRST][kept, at], {"offset": offset}
        for arm, values in flat.items():
            found = mean_interval(values[kept, at], prompts[kept])
            rows.append({**told, "metric": "shift", "control": arm, **found._asdict()})
            if arm != STEERED_FIRST:
                above = mean_interval(own - values[kept, at], prompts[kept])
                rows.append({**told, "metric": "shift_above", "target": arm, **above._asdict()})
    if rows and rows[0]["ci_low"] > 0:
        rows += _retained(flat[STEERED_FIRST], there, prompts, offsets)
    return [{**_NOTHING, **row} for row in rows]


def heard_rows(right: Mapping[str, Bool[np.ndarray, "emotion prompt"]], *, judge: str) -> TableRows:
    """Rows of `success` by arm: the share of texts in which the `judge` hears, in what was written
    after the release, the emotion that was steered to; and of `success_above`, less the share of
    another arm (`target`). Chance is 1 / `choices`.
    """
    n_emotions, n_prompts = right[STEERED_FIRST].shape
    prompts: Int[np.ndarray, " item"] = np.tile(np.arange(n_prompts), n_emotions)
    shares = {arm: Share(mean_of(one.ravel().astype(float))) for arm, one in right.items()}
    common = {"judge": judge, "choices": n_emotions}
    rows: list[TableRow] = []
    for arm, one in shares.items():
        found = one.estimate(prompts)
        rows.append({**common, "metric": "success", "control": arm, **found._asdict()})
        if arm != STEERED_FIRST:
            above = share_difference(shares[STEERED_FIRST], one, prompts)
            rows.append({**common, "metric": "success_above", "target": arm, **above._asdict()})
    return [{**_NOTHING, **row} for row in rows]


_NOTHING: TableRow = {
    "method": "release", "control": "", "target": "", "offset": np.nan, "judge": "",
    "half_low": np.nan, "half_high": np.nan,
}  # fmt: skip


def _retained(
    shifts: Float[np.ndarray, "item offset"],
    there: Bool[np.ndarray, "item offset"],
    prompts: Shaped[np.ndarray, " item"],
    offsets: Sequence[int],
) -> TableRows:
    kept: list[Estimate] = []
    read: list[int] = []
    for at, offset in enumerate(offsets):
        both = there[:, 0] & there[:, at]
        if both.any():
            kept.append(ratio_interval(shifts[both, at], shifts[both, 0], prompts[both]))
            read.append(offset)
    rows: TableRows = [
        {"metric": RETAINED, "offset": offset, **one._asdict()}
        for offset, one in zip(read, kept, strict=True)
    ]
    return [*rows, half_life_row(tuple(read), tuple(kept))]
