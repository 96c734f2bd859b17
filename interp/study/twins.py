"""The twins of a battery that a study can work on, and what is said of those that it cannot."""

import warnings
from collections.abc import Container, Sequence

from interp.models import LanguageModel
from interp.models.texts.conversations import prompt_of
from interp.study.conditions import FEWEST
from stimuli.battery import Battery, Pair, Pairs, Stimulus, in_content_order


def usable_pairs(
    battery: Battery, model: LanguageModel, *, read: Container[str], quarantined: Container[str]
) -> Pairs:
    """The twins of `battery` whose texts were both `read`, in the order of their content: what is
    drawn from them depends on no name and on no row's place.

    Left out, with a warning: those the capture put in quarantine, those that are the same tokens to
    this model, and those of an emotion with fewer than `FEWEST` scenarios.
    """
    _warn_of(
        [item.id for item in battery if item.id in quarantined],
        "or their twins have activations that are not finite (activations/quarantine.jsonl "
        "says where)",
    )
    found = [pair for pair in battery.pairs() if all(item.id in read for item in pair)]
    same = _same_tokens(found, model)
    _warn_of(same, "are the same tokens to this model as their twin")
    found = [pair for pair in found if pair.affective.id not in same]
    rare = _rare_emotions(found, battery.emotions)
    _warn_of(rare, f"have fewer than {FEWEST} scenarios")
    return Pairs(in_content_order(pair for pair in found if pair.affective.emotion not in rare))


def _same_tokens(pairs: Sequence[Pair], model: LanguageModel) -> list[str]:
    """The ids of the affective texts that the model cannot tell from their twin."""
    affective = _tokens([pair.affective for pair in pairs], model)
    neutral = _tokens([pair.neutral for pair in pairs], model)
    return [
        pair.affective.id
        for pair, one, other in zip(pairs, affective, neutral, strict=True)
        if one == other
    ]


def _tokens(items: Sequence[Stimulus], model: LanguageModel) -> list[list[int]]:
    prompts = [prompt_of(item.text, item.fields, name=item.id) for item in items]
    return model.tokenize(prompts, ids=[item.id for item in items])


def _rare_emotions(pairs: Sequence[Pair], emotions: Sequence[str]) -> list[str]:
    """The emotions that have some scenario, and fewer than `FEWEST`."""
    scenarios = {
        emotion: {pair.affective.group for pair in pairs if pair.affective.emotion == emotion}
        for emotion in emotions
    }
    return [emotion for emotion, groups in scenarios.items() if 0 < len(groups) < FEWEST]


def _warn_of(names: Sequence[str], reason: str) -> None:
    if names:
        warnings.warn(
            f"left out, since they {reason}: {len(names)} ({', '.join(map(repr, names[:10]))}).",
            stacklevel=3,
        )
