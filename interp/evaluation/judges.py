"""Judges: which emotion a continuation expresses, by more than one way of telling, and how far two
ways agree.

A judge takes continuations and gives for each the emotion it expresses, `MIXED` for a proper
sentence that expresses no one emotion, or None for what is no sentence of the model's language. To
add a judge, write its maker and its line in `JUDGES`.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from sklearn.metrics import cohen_kappa_score
from torch import Tensor

from interp.causal.forward import batches, encode_stimuli
from interp.causal.readout import Readout
from interp.causal.steering_sweep import Judge
from interp.causal.words import text_scores
from interp.errors import StatisticsError, UsageError
from interp.evaluation.readouts import Named, find_testbed
from interp.models import LanguageModel
from interp.testbeds.records import MIXED
from stimuli.battery import NEUTRAL, Stimulus


def oracle(model: LanguageModel, readout: Readout) -> Judge:
    """The testbed's own reader of its language, which knows the grammar and does not ask the model.

    Raises `UsageError` for a model that is no testbed: nobody knows its language.
    """
    return oracle_of(model)


def oracle_of(model: Named) -> Judge:
    """The oracle of a testbed; raises `UsageError` for a model that is none."""
    judge = judge_for(model)
    if judge is None:
        name = model if isinstance(model, str) else model.name
        others = ", ".join(judge for judge in JUDGES if judge != oracle.__name__)
        raise UsageError(f"{name} has no oracle: only testbeds do. Judges for any model: {others}.")
    return judge


def judge_for(model: Named) -> Judge | None:
    """The oracle of a testbed; None for a model whose language nobody knows."""
    bed = find_testbed(model)
    if bed is None:
        return None
    return bed.judge or word_judge(Readout(bed.words, bed.suffix))


def word_judge(readout: Readout) -> Judge:
    """A judge by the readout's words: the emotion whose words stand most often in the continuation.

    `neutral` where none stands, `MIXED` where two emotions tie, None for an empty continuation.
    """
    emotion_of = {
        word.lower(): emotion for emotion, words in readout.words.items() for word in words
    }

    def verdict(continuation: str) -> str | None:
        words = re.findall(r"\w+", continuation.lower())
        counts = Counter(emotion_of[word] for word in words if word in emotion_of)
        if not counts:
            return NEUTRAL if words else None
        (first, most), *others = counts.most_common(2)
        return MIXED if others and others[0][1] == most else first

    def oracle_by_words(continuations: Sequence[str]) -> list[str | None]:
        return [verdict(continuation) for continuation in continuations]

    return oracle_by_words


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


JUDGES: dict[str, Callable[[LanguageModel, Readout], Judge]] = {
    "oracle": oracle,
    "forced_choice": forced_choice,
}
"""Makers of judges by name. A maker takes the unsteered model and the readout that names the
emotions; a study asks the one that `--judge` names.
"""


def judge_named(name: str | None, model: LanguageModel, readout: Readout) -> Judge | None:
    """The judge of that name. Where none is named, a testbed's oracle, and for other models nobody.

    Raises `UsageError` for an unknown name, and as its maker.
    """
    if name is None:
        return judge_for(model)
    if name not in JUDGES:
        raise UsageError(f"unknown judge {name!r}: choose one of {', '.join(JUDGES)}.")
    return JUDGES[name](model, readout)


def agreement(first: Sequence[str | None], second: Sequence[str | None]) -> dict[str, Any]:
    """Cohen's kappa of two judges' verdicts on the same continuations: 1 agree, 0 no more than by
    chance. "No verdict" counts as a verdict of its own. Cohen (1960).

    Returns `metric`, `value`, `n`. Raises `StatisticsError` for lists of unequal length or none, or
    when both judges give one and the same verdict throughout, since chance agreement is then
    complete and kappa undefined.
    """
    if len(first) != len(second) or not first:
        raise StatisticsError(
            f"agreement needs two verdicts on each text, and there are {len(first)} and "
            f"{len(second)}."
        )
    a, b = (
        ["no verdict" if verdict is None else verdict for verdict in given]
        for given in (first, second)
    )
    if len({*a, *b}) == 1:
        raise StatisticsError(
            f"both judges say {a[0]!r} of all {len(a)} texts: kappa is undefined; judge texts "
            "that differ."
        )
    return {"metric": "kappa", "value": float(cohen_kappa_score(a, b)), "n": len(a)}
