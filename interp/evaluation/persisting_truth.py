"""Whether a state that is planted is found to stay as long as it does, and to go where it goes.

Every token of the planted model attends to the flagged words alike. Behind ordinary words the
state therefore stays whole; behind m further flagged words without evidence it is 1 / (1 + m) of
what it was.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from interp.analysis.persistence import Followed, follow, half_life, retained
from interp.causal.continued import read_continued
from interp.evaluation.planted_bench import PlantedBench
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from interp.testbeds.planted.texts import ORDINARY, situation_words
from stimuli.battery import NEUTRAL

OFFSETS = (1, 4, 8, 16)
LAST_WHOLE = 4
"""The last offset before the flagged words of the continuation in which the state goes."""

FLAGGED = 2

TRUE_HALF_LIFE = float(np.expm1(np.log(5) + 0.75 * (np.log(9) - np.log(5))))
"""Whole at offset 4 and one third at 8, it is one half three quarters of the way between them, in
log(1 + k): 6.8.
"""


def check_persistence(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """Behind ordinary words the state stays to the last offset; behind flagged ones it has the
    half-life that it must have; in the model without the circuit there is none.
    """
    for name, one in (("persistence", bed), ("null", null)):
        where = "planted" if one is bed else "planted_null"
        told = _followed(one, plain_words(seed), seed)
        aurocs = [found.observed for found in told.nulls]
        worst = int(np.argmin(aurocs)) if one is bed else int(np.argmax(aurocs))
        yield row(name, "persistence", "auroc", aurocs[worst], where)
        yield row(name, "persistence", "p", float(told.p[worst]), where)
    told = _followed(bed, [*plain_words(seed)[:LAST_WHOLE], *_flagged(bed)], seed)
    half = half_life(told.offsets, retained(told)).value
    error = 1.0 if np.isnan(half) else abs(half - TRUE_HALF_LIFE) / TRUE_HALF_LIFE
    yield row("persistence", "half_life", "error", error, "planted, flagged words behind the text")


def plain_words(seed: int) -> list[str]:
    """Ordinary words to read on in."""
    return [str(one) for one in np.random.default_rng(seed).choice(ORDINARY, size=24)]


def _flagged(bed: PlantedBench) -> list[str]:
    """Flagged words without evidence, and ordinary ones behind them."""
    spare = situation_words(bed.truth.spec)[NEUTRAL][-FLAGGED:]
    return [*spare, *plain_words(1)]


def _followed(bed: PlantedBench, words: Sequence[str], seed: int) -> Followed:
    pairs = bed.battery.pairs()
    texts = [*pairs.affective, *pairs.neutral]
    read = read_continued(
        bed.model, texts, [" ".join(words)] * len(texts), site=bed.final, offsets=OFFSETS
    )
    labels = ["affective"] * len(pairs) + [NEUTRAL] * len(pairs)
    return follow(read.states, labels, [*pairs.groups] * 2, offsets=read.offsets, seed=seed)
