"""The loss on neutral text under an ablation: what it costs a text that has no emotion to lose.

An emotion's words become rarer if the parts that write them are gone, and also if the model is
broken. Its loss on neutral text, in nats per token, tells the two apart.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.bench import Bench, Knockout
from interp.causal.compared import Outcomes, Values, groups_of
from interp.causal.forward import Encoded, batches, encode_stimuli
from interp.causal.interventions import Intervention, applied
from interp.causal.knockout import StandInValues, change_rows, touched_sites
from interp.causal.plan_runs import EditRows
from interp.causal.readout import Readout
from interp.causal.stand_ins import STAND_INS, mean_values, position_classes
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.progress import track

NEUTRAL_LOSS = "neutral_loss_rise"

PRICED_AT_ONCE = 1024
"""Tokens whose logits over the whole vocabulary are held at once, padding counted."""


def mean_loss(logits: Float[Tensor, "pos d_vocab"], tokens: Sequence[int], start: int) -> float:
    """-mean of log p(token | tokens before), in nats, of a text's tokens from `start` (above 0)
    on.
    """
    told = torch.tensor(list(tokens[start:]))
    mine = logits[start - 1 : len(tokens) - 1].double().log_softmax(-1)
    return -float(mine.cpu().gather(-1, told[:, None]).mean())


def neutral_losses(
    bench: Bench, plans: Sequence[Knockout], *, mode: str
) -> Float[np.ndarray, "plan pair"]:
    """The loss (nats per token) of each pair's neutral text under each plan that names the pair;
    NaN elsewhere, and for a text of one token.

    `mode` is a key of `STAND_INS`, and stands for `loss_mode` of it. Raises as
    `interp.causal.knockout.measure`.
    """
    model, touched = bench.model, touched_sites(plans)
    require(model, "ablation", touched)
    rows = neutral_rows(bench)
    values = (STAND_INS[loss_mode(mode)] or mean_values)(model, rows, touched)
    classes = position_classes(rows)
    stand_in = StandInValues(values, classes.clamp(min=0))

    def edit_rows(of_text: list[int], of_plan: list[int]) -> list[Intervention]:
        mine = [plans[p] for p in of_plan]
        return change_rows(model, mine, stand_in, of_text, classes[of_text] >= 0)

    return losses_under(model, rows, [plan.pairs for plan in plans], edit_rows)


def loss_mode(mode: str) -> str:
    """What stands in on neutral texts: a neutral text has no twin without its emotion, so that
    `resample` is the mean over the neutral texts there.
    """
    return "mean" if STAND_INS[mode] is None else mode


def neutral_rows(bench: Bench) -> list[Encoded]:
    """The neutral text of each pair, without a suffix."""
    bare = Readout({emotion: [emotion] for emotion in set(bench.emotions)}, "")
    return encode_stimuli(bench.model, [pair.neutral for pair in bench.pairs], bare)


def losses_under(
    model: LanguageModel,
    rows: Sequence[Encoded],
    texts_of: Sequence[Sequence[int]],
    edit_rows: EditRows,
) -> Float[np.ndarray, "plan text"]:
    """The loss (nats per token) of the texts `texts_of` each plan, from a text's second token on
    where nothing stands before it; NaN elsewhere.
    """
    jobs = [(i, p) for p, mine in enumerate(texts_of) for i in mine]
    found = np.full((len(texts_of), len(rows)), np.nan)
    priced = batches([rows[i] for i, _ in jobs], budget=PRICED_AT_ONCE)
    for chunk in track(priced, "loss on neutral text", unit="pass"):
        of_text, of_plan = ([jobs[at][side] for at in chunk] for side in (0, 1))
        mine = [rows[i] for i in of_text]
        batch = model.pad([row.tokens for row in mine])
        with applied(model, edit_rows(of_text, of_plan), lengths=batch.lengths):
            logits = model.forward(batch)
        found[of_plan, of_text] = [
            _loss(logits[at], row, max(row.first, 1)) for at, row in enumerate(mine)
        ]
    return found


def _loss(logits: Float[Tensor, "pos d_vocab"], row: Encoded, start: int) -> float:
    return mean_loss(logits, row.tokens, start) if start < len(row.tokens) else np.nan


def loss_outcomes(bench: Bench, losses: Float[np.ndarray, "plan pair"]) -> Outcomes:
    """The rise of the loss under a plan, in the neutral texts of each emotion's pairs."""
    labels = np.array(bench.emotions)

    def of(plan: int | slice, target: str) -> Values:
        return {NEUTRAL_LOSS: (losses[plan] - losses[0])[..., labels == target]}

    return Outcomes(of, {NEUTRAL_LOSS: 1}, groups_of(bench))
