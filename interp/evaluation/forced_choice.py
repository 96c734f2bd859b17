"""Forced choice: a language model says which emotion a text expresses, by the words that it then
expects.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.forward import batches, encode_stimuli
from interp.causal.readout import Readout
from interp.causal.steered_texts import Judge
from interp.causal.words import text_scores
from interp.errors import UsageError
from interp.models import LanguageModel
from stimuli.battery import NEUTRAL, Stimulus

NEUTRAL_PROMPTS = ("N/A", ".", "...")
"""Texts that say nothing, by which a forced choice is calibrated where no neutral ones are given.
Zhao et al. (2021).
"""


def forced_choice(
    model: LanguageModel, readout: Readout, *, neutral: Sequence[str] = NEUTRAL_PROMPTS
) -> Judge:
    """A judge by the model's own, unsteered expectation: the emotion whose words gain most after
    the continuation.

    A gain is the words' log-probability less its value after the `neutral` prompts (the log of the
    mean probability), so that frequent words and long lists of words do not win by themselves:
    contextual calibration, Zhao et al. (2021). It must choose: every continuation that has a token
    gets one of the readout's emotions. None for an empty one. Raises `UsageError` for no neutral
    prompt.
    """
    if not neutral:
        raise UsageError(
            "a forced choice is calibrated by neutral prompts, and none was given: give at least "
            "one."
        )
    bound = readout.bind(model)

    def scores(texts: Sequence[str]) -> Float[Tensor, "text emotion"]:
        asked = [
            Stimulus(f"continuation {place}", text, NEUTRAL) for place, text in enumerate(texts)
        ]
        encoded = encode_stimuli(model, asked, readout)
        found = torch.full((len(texts), len(bound.emotions)), torch.nan)
        with torch.inference_mode():
            for batch in batches(encoded):
                found[torch.from_numpy(batch)] = (
                    text_scores(model, [encoded[i] for i in batch], bound).float().cpu()
                )
        return found

    usual = scores(neutral).logsumexp(0) - math.log(len(neutral))

    def forced_choice_by_model(continuations: Sequence[str]) -> list[str | None]:
        verdicts: list[str | None] = [None] * len(continuations)
        kept = [place for place, continuation in enumerate(continuations) if continuation.strip()]
        gains = scores([continuations[place] for place in kept]) - usual
        for place, choice in zip(kept, gains.argmax(-1).tolist(), strict=True):
            verdicts[place] = bound.emotions[choice]
        return verdicts

    return forced_choice_by_model
