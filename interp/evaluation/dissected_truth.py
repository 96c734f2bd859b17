"""What `interp dissect` and `interp read` recover of a planted circuit: which layer loses the
emotion when its attention or its MLP is knocked out, what the ablation of a direction takes away,
and what a held-out text reads in calibrated units.
"""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from interp.analysis.units import length_shares, probabilities
from interp.causal.bench import Bench
from interp.causal.direction_ablation import DIRECTION_ABLATION, DirectionTrial, ablate_directions
from interp.causal.layer_knockout import WORDS_CHANGE, LayerTrial, knock_out_layers
from interp.causal.pooled import ALL
from interp.evaluation.planted_bench import PlantedBench
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from stimuli.splits import balanced

KNOCKED_PAIRS = 4
"""Pairs of each emotion whose layers are knocked out and whose directions are ablated."""

LAYER_METHOD = "layer_knockout"
READING = "read"
RIVALS = ("random", "same_size")
"""The random directions beside an ablated one."""


def check_dissection(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """How many layers the most costly knock-out is away from the planted one, of attention and of
    MLPs, for the worst emotion; the share of emotions whose ablated direction lowers their own
    words more than every random direction does; and p where there is no circuit, of the layers
    corrected over layers and parts.
    """
    knocked, ablated = _dissected(bed, seed)
    above = knocked[knocked["metric"] == f"{WORDS_CHANGE}_above_random"]
    for part, layer in (("attention", bed.truth.head_layer), ("mlp", bed.truth.neuron_layer)):
        own = above[above["component"] == part]
        found = own.loc[own.groupby("emotion")["value"].idxmax()].set_index("emotion")["layer"]
        worst = max(abs(float(found[emotion]) - layer) for emotion in bed.truth.emotions)
        yield row("layer", LAYER_METHOD, "error", worst, part)
    own = _own_words(ablated)
    lowest = own[own["control"].isin(RIVALS)].groupby("emotion")["draw_low"].min()
    value = own[own["control"] == ""].set_index("emotion")["value"]
    lower = [bool(value[emotion] < lowest[emotion]) for emotion in bed.truth.emotions]
    yield row("needed", DIRECTION_ABLATION, "rate", float(np.mean(lower)), bed.final)
    knocked, ablated = _dissected(null, seed)
    least = knocked[knocked["metric"] == f"{WORDS_CHANGE}_above_random"]["p_corrected"].min()
    yield row("null", LAYER_METHOD, "p", float(least), "planted_null")
    own = _own_words(ablated)
    (p,) = own[(own["emotion"] == ALL) & (own["control"] == "")]["p"]
    yield row("null", DIRECTION_ABLATION, "p", float(p), "planted_null")


def check_reading(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """What texts that no direction was fitted on read at their last token: how far the mean share
    of those that evoke the emotion is from 1, and of their twins from 0, for the worst emotion; and
    how many of those that have a probability are on the right side of .5: without a circuit that
    is chance.
    """
    for one, where in ((bed, str(bed.final)), (null, "planted_null")):
        right, far = [], []
        for emotion in one.truth.emotions:
            direction = one.direction(emotion, one.final)
            twins = one.values(one.final, one.scoring.of(emotion))
            for rows, share, kind in zip(twins, (1.0, 0.0), (True, False), strict=True):
                at = rows @ direction.vector
                read = float(length_shares(at, direction).mean())
                far.append(1.0 if np.isnan(read) else abs(read - share))  # no length: no unit
                likely = probabilities(at, direction)
                right += ((likely > 0.5) == kind)[~np.isnan(likely)].tolist()
        if one is bed:
            yield row("reading", READING, "error", max(far), where)
        yield row("reading", READING, "rate", float(np.mean(right)) if right else 0.5, where)


def _own_words(ablated: pd.DataFrame) -> pd.DataFrame:
    """What the ablation of each emotion's direction does to its own words."""
    return ablated[(ablated["metric"] == WORDS_CHANGE) & (ablated["emotion"] == ablated["target"])]


def _dissected(bed: PlantedBench, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of layers knocked out, and of directions ablated behind the last one."""
    pairs = balanced(bed.scoring, n=KNOCKED_PAIRS * len(bed.truth.emotions), seed=seed)
    directions = {one: bed.direction(one, bed.final) for one in bed.truth.emotions}
    bench = Bench(bed.model, pairs, directions, bed.readout)
    trial = DirectionTrial((bed.final.layer,), everywhere=False, seed=seed)
    with warnings.catch_warnings():
        # without a circuit directions have no length, and only the words are looked at
        warnings.simplefilter("ignore", UserWarning)
        knocked = knock_out_layers(bench, LayerTrial(seed=seed, neutral=False))
        ablated = ablate_directions(bench, trial)
    return pd.DataFrame(knocked), pd.DataFrame(ablated)
