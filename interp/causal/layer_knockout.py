"""Knock-out of whole layers: what is lost when a layer's attention, its MLP, or all that it adds to
the stream is set to its stand-in.

Four readings, all beside a control. The projection on the emotion's direction behind the layer, and
the log-probability of the emotion's words, say how much of the emotion is lost. The share of texts
whose likeliest next token changes and the fall of the accuracy (are the emotion's own words the
likeliest of all emotions'?) are those of *Whether, Not Which* (affect-reception), which are not the
same: a token changes sooner than an answer becomes wrong.

The control moves what the layer adds just as far, in a random direction: a layer may matter only
because any change there of that size breaks the model. `..._above_random` is the knock-out's loss
less the control's, paired on the same texts; its p flips the signs of scenarios, and is corrected
over all layers and parts (Benjamini and Hochberg 1995).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.bench import Bench, Effects, Knockout, Turned
from interp.causal.compared import WORDS_CHANGE
from interp.causal.contributions import Component, is_unit
from interp.causal.knockout import measure
from interp.causal.losses import NEUTRAL_LOSS, loss_mode, neutral_losses
from interp.causal.paired import beside_rows, with_corrected_p
from interp.causal.pooled import ALL
from interp.causal.ranked_parts import warn_without_length
from interp.defaults import STAND_IN
from interp.errors import UsageError
from interp.results import TableRow, TableRows
from interp.sites import Site

KNOCKOUT = "knockout"

LAYER_PARTS: Mapping[str, tuple[str, ...]] = {
    "attention": ("attn_out",),
    "mlp": ("mlp_out",),
    "block": ("attn_out", "mlp_out"),
}
"""What is knocked out of a layer, and at which sites: all that the block adds is both."""

LOSS_SIGNS: Mapping[str, int] = {
    "projection_drop": 1,
    WORDS_CHANGE: -1,
    "top1_changed": 1,
    "accuracy_drop": 1,
    NEUTRAL_LOSS: 1,
}
"""The readings, and the sign by which larger values are a loss."""


class LayerTrial(NamedTuple):
    """Which `layers` are knocked out (None: all), what stands in for them (a key of `STAND_INS`),
    the random changes beside each, their seed, and whether the loss on neutral text is measured.
    """

    layers: Sequence[int] | None = None
    mode: str = STAND_IN
    n_draws: int = 4
    seed: int = 0
    neutral: bool = True


class _Cell(NamedTuple):
    """A part of a layer: the number of its plan, and of its random changes."""

    part: str
    layer: int
    plan: int
    draws: slice


def knock_out_layers(bench: Bench, trial: LayerTrial | None = None) -> TableRows:
    """Rows of every part of every layer, for each emotion of the bench and all together.

    Metrics: `projection_drop` (natural lengths), only where the direction is read behind the layer;
    `label_logprob_change` (nats); `top1_changed` and `accuracy_drop` (shares of texts; the second
    needs words for two emotions); `neutral_loss_rise` (nats per token of the neutral texts). Each
    has a row with control `random`, the mean of `n_draws` changes of the same size, and one of
    metric `..._above_random`, larger where the knock-out loses more, with `p` and `p_corrected` on
    the rows of all emotions: that it loses nothing, or no more than the random changes. Column
    `component` is a key of `LAYER_PARTS`. Raises `UsageError` for a layer that the model lacks,
    fewer than one draw, and as `interp.causal.knockout.measure`.
    """
    trial = trial or LayerTrial()
    n_layers = bench.model.dims.n_layers
    layers = range(n_layers) if trial.layers is None else trial.layers
    odd = [layer for layer in layers if not 0 <= layer < n_layers]
    if odd or trial.n_draws < 1:
        raise UsageError(
            f"layers {odd or tuple(layers)}, {trial.n_draws} random changes: {bench.model.name} "
            f"has layers 0..{n_layers - 1}, and there is at least one change."
        )
    warn_without_length(bench)
    plans, cells = _planned(bench, layers, trial)
    effects = measure(bench, plans, mode=trial.mode, rivals=True)
    losses = neutral_losses(bench, plans, mode=trial.mode) if trial.neutral else None
    rows = [
        row
        for cell in cells
        for row in _cell_rows(bench, _read(bench, effects, losses, cell), cell)
    ]
    modes = {True: loss_mode(trial.mode), False: trial.mode}
    told = with_corrected_p(rows)
    return [{**row, "mode": modes[row["metric"].startswith(NEUTRAL_LOSS)]} for row in told]


def _planned(
    bench: Bench, layers: Sequence[int], trial: LayerTrial
) -> tuple[list[Knockout], list[_Cell]]:
    """The plans, of which the first changes nothing, and each cell's."""
    everywhere = tuple(range(len(bench.pairs)))
    plans, cells = [Knockout((), everywhere)], []
    for part, names in LAYER_PARTS.items():
        for layer in layers:
            whole = tuple(Component(name, layer, 0) for name in names)
            first = len(plans)
            turned = [Turned(trial.seed * trial.n_draws + draw) for draw in range(trial.n_draws)]
            plans += [Knockout(whole, everywhere)]
            plans += [Knockout(whole, everywhere, instead=one) for one in turned]
            cells.append(_Cell(part, layer, first, slice(first + 1, len(plans))))
    return plans, cells


ReadBehind = dict[str, Float[np.ndarray, "change pair"]]
"""By metric: the knock-out first, then its random changes; NaN where a pair has no reading."""


def _read(
    bench: Bench, effects: Effects, losses: Float[np.ndarray, "plan pair"] | None, cell: _Cell
) -> ReadBehind:
    """Every reading of a cell in every pair."""
    plans = slice(cell.plan, cell.draws.stop)
    fall = (effects.projection[0] - effects.projection[plans]) * _per_length(bench, cell.layer)
    found = {
        "projection_drop": fall,
        WORDS_CHANGE: effects.score[plans] - effects.score[0],
        "top1_changed": (effects.top[plans] != effects.top[0]).astype(float),
    }
    if np.isfinite(effects.lead[0]).all():
        right = (effects.lead > 0).astype(float)
        found["accuracy_drop"] = right[0] - right[plans]
    if losses is not None:
        found[NEUTRAL_LOSS] = losses[plans] - losses[0]
    return found


def _per_length(bench: Bench, layer: int) -> Float[np.ndarray, " pair"]:
    """One over the length of each pair's direction; NaN where it is no unit, or is not read behind
    the layer.
    """
    own = [bench.directions[emotion] for emotion in bench.emotions]
    return np.array(
        [1 / one.length if is_unit(one) and _behind(one.site, layer) else np.nan for one in own]
    )


def _behind(site: Site, layer: int) -> bool:
    """Whether all that a layer adds has reached the stream at `site`."""
    return layer < site.layer or (layer == site.layer and site.name == "resid_post")


def _cell_rows(bench: Bench, readings: ReadBehind, cell: _Cell) -> Iterator[TableRow]:
    labels = np.array(bench.emotions)
    groups = np.array([pair.affective.group for pair in bench.pairs])
    place = {"site": "", "layer": cell.layer, "component": cell.part, "method": KNOCKOUT}
    for emotion in [ALL, *dict.fromkeys(labels.tolist())]:
        for metric, values in readings.items():
            mine = ((labels == emotion) | (emotion == ALL)) & np.isfinite(values).all(axis=0)
            if mine.any():
                here = {**place, "emotion": emotion, "target": emotion, "metric": metric}
                own, random = values[0, mine], values[1:, mine].mean(axis=0)
                sign = LOSS_SIGNS[metric]
                yield from beside_rows(
                    own, {"random": random}, groups[mine], here, sign=sign, of_itself=True
                )
