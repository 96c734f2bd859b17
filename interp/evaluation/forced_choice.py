"""Forced choice: a language model says which emotion a text expresses, by the words that it then
expects.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.forward import batches, encode_stimuli
from interp.causal.readout import Readout, TokenReadout
from interp.causal.steered_texts import Judge
from interp.causal.words import text_scores
from interp.errors import UsageError
from interp.models import LanguageModel
from stimuli.battery import NEUTRAL, Stimulus

NEUTRAL_PROMPTS = ("N/A", ".", "...")
"""Texts that say nothing, by which a forced choice is calibrated where no neutral ones are given.
Zhao et al. (2021).
"""


class LabelScores(NamedTuple):
    """log p of each emotion's words behind each text (`scores`, in nats), and behind texts that
    say nothing (`usual`), by what these are called.
    """

    emotions: tuple[str, ...]
    scores: Float[np.ndarray, "text emotion"]
    usual: Mapping[str, Float[np.ndarray, " emotion"]]

    def gains(self, by: str) -> Float[np.ndarray, "text emotion"]:
        """The scores calibrated by those texts: how much likelier the words are than usual."""
        return self.scores - self.usual[by]


def asked_by_words(
    model: LanguageModel,
    readout: Readout,
    items: Sequence[Stimulus],
    neutral: Mapping[str, Sequence[Stimulus] | Sequence[str]],
) -> LabelScores:
    """What the model expects behind each text, and behind each kind of `neutral` ones.

    Emotions whose words the vocabulary lacks are left out, with a warning. Raises as
    `encode_stimuli`.
    """
    bound = readout.bind(model)
    usual = {name: usual_scores(model, readout, bound, texts) for name, texts in neutral.items()}
    return LabelScores(bound.emotions, label_scores(model, readout, bound, items), usual)


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
    usual = usual_scores(model, readout, bound, neutral)

    def forced_choice_by_model(continuations: Sequence[str]) -> list[str | None]:
        verdicts: list[str | None] = [None] * len(continuations)
        kept = [place for place, continuation in enumerate(continuations) if continuation.strip()]
        said = _as_stimuli([continuations[place] for place in kept], "continuation")
        gains = label_scores(model, readout, bound, said) - usual
        for place, choice in zip(kept, gains.argmax(-1).tolist(), strict=True):
            verdicts[place] = bound.emotions[choice]
        return verdicts

    return forced_choice_by_model


def label_scores(
    model: LanguageModel, readout: Readout, bound: TokenReadout, items: Sequence[Stimulus]
) -> Float[np.ndarray, "text emotion"]:
    """log p of each emotion's words behind each text and the readout's suffix, in nats."""
    encoded = encode_stimuli(model, items, readout)
    found = np.full((len(items), len(bound.emotions)), np.nan)
    with torch.inference_mode():
        for batch in batches(encoded):
            scores = text_scores(model, [encoded[i] for i in batch], bound)
            found[batch] = scores.float().cpu().numpy()
    return found


def usual_scores(
    model: LanguageModel,
    readout: Readout,
    bound: TokenReadout,
    neutral: Sequence[Stimulus] | Sequence[str],
) -> Float[np.ndarray, " emotion"]:
    """The log of the mean probability of each emotion's words behind texts that say nothing."""
    said = [one for one in neutral if isinstance(one, Stimulus)]
    said += _as_stimuli([one for one in neutral if isinstance(one, str)], "neutral")
    scores = label_scores(model, readout, bound, said)
    return np.logaddexp.reduce(scores, axis=0) - math.log(len(said))


def _as_stimuli(texts: Sequence[str], name: str) -> list[Stimulus]:
    return [Stimulus(f"{name} {place}", text, NEUTRAL) for place, text in enumerate(texts)]
