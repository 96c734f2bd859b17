"""Sublayer influence: how much a dose of an emotion, put in at one sublayer, moves the end of the
model along the reference direction.

    I_{p,l} = d <h_final, v_ref> / d (alpha sigma_{p,l}),  h_{p,l} + alpha sigma_{p,l} v_{p,l}

at the text's last token, on texts without emotion: v_{p,l} is the sublayer's own direction (or the
neutral text's attention or MLP output plus a dose of it), sigma the RMS of what it adds there. So I
has no unit: residual units at the end per residual unit put in. "Do LLMs Feel?" (Emotion Circuits)
measures it by doses of .1 to .7; here it is the slope at dose zero, which one backward pass gives
for all sublayers and texts at once. (Attribution patching: Nanda 2023.)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.edits import Edit, Selected
from interp.causal.forward import Encoded, batches, encode_stimuli, run_forward
from interp.causal.interventions import Intervention
from interp.causal.readout import Readout
from interp.causal.sublayers import EmotionReading
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.sites import STREAM, Site
from interp.stats import mean_interval
from stimuli.battery import Stimulus

TRACED_TOKENS = 128
"""Tokens of one backward pass, which keeps what every layer computed. Eight texts of SmolLM2 at
once are .2 s faster, and take some hundreds of MB more where a study already holds the most.
"""

INFLUENCE = "influence"


def sublayer_influence(
    model: LanguageModel, texts: Sequence[Stimulus], reading: EmotionReading
) -> Float[np.ndarray, "text sublayer"]:
    """I of every sublayer of `reading`, in each of the neutral `texts`.

    Raises `StatisticsError` for no text, `UsageError` where an edit at a sublayer's output is not
    what its name says.
    """
    if not texts:
        raise StatisticsError("influence is measured on neutral texts, and none was given.")
    require(model, "steering", [one.place for one in reading.sublayers])
    bare = Readout({reading.emotion: [reading.emotion]}, "")
    rows = encode_stimuli(model, texts, bare)
    found = np.empty((len(rows), len(reading.sublayers)))
    for batch in batches(rows, budget=TRACED_TOKENS):
        found[batch] = _slopes(model, [rows[i] for i in batch], reading)
    return found


def influence_rows(
    reading: EmotionReading, influence: Float[np.ndarray, "text sublayer"], groups: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of `influence`: one per sublayer, with its interval over scenarios; beside each the
    sublayer's `stability`, its `sigma`, and whether v_ref was summed there (`in_segment`).
    """
    return [
        {
            "site": one.place.name,
            "layer": one.place.layer,
            "emotion": reading.emotion,
            "method": "one_backward_pass",
            "metric": INFLUENCE,
            "stability": one.stability,
            "sigma": one.sigma,
            "in_segment": float(one.site.layer in reading.segment),
            **mean_interval(influence[:, at], groups)._asdict(),
        }
        for at, one in enumerate(reading.sublayers)
    ]


def _slopes(
    model: LanguageModel, rows: Sequence[Encoded], reading: EmotionReading
) -> Float[np.ndarray, "row sublayer"]:
    """The slopes of one batch of texts: each row has a dose of its own at each sublayer."""
    doses = torch.zeros(len(rows), len(reading.sublayers), requires_grad=True)
    last = torch.zeros(len(rows), max(len(row.tokens) for row in rows), dtype=torch.bool)
    ends = [row.end for row in rows]
    last[torch.arange(len(rows)), ends] = True
    edits = [
        Intervention(one.place, _dosed(doses[:, at], one.vector), last)
        for at, one in enumerate(reading.sublayers)
    ]
    final = Site(STREAM, model.dims.n_layers - 1)
    with model.traced():
        stream = run_forward(model, rows, interventions=edits, read=[final]).at(final, ends)
        reference = torch.from_numpy(reading.reference).to(stream.device, torch.float32)
        slopes = model.slopes((stream.float() @ reference).sum(), doses)
    return slopes.double().numpy()


def _dosed(doses: Float[Tensor, " row"], vector: Float[np.ndarray, " d_model"]) -> Edit:
    """x + dose of its row * v."""
    v = torch.from_numpy(vector).float()

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        added = doses.to(x.device)[at.row][:, None] * v.to(x.device)
        return x + added.to(x.dtype)

    return edit
