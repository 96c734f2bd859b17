"""The twins of a battery that can be worked on, and what is said of those that cannot."""

import warnings
from collections.abc import Container, Sequence

from interp.capture import ActivationStore
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.texts.conversations import prompt_of
from interp.study.conditions import FEWEST
from stimuli.battery import Battery, Pair, Pairs, Stimulus, in_content_order


def ordered_pairs(battery: Battery) -> Pairs:
    """The twins of `battery` by content, so that what is drawn from them depends on no name and on
    no row's place.
    """
    return Pairs(in_content_order(battery.pairs()))


def finite_pairs(store: ActivationStore, battery: Battery) -> Pairs:
    """The `ordered_pairs` whose activations in `store` are finite; the others are warned of.

    Raises `StatisticsError` where none is left.
    """
    pairs = ordered_pairs(battery)
    lost = store.quarantined.keys()
    kept = Pairs(pair for pair in pairs if not {item.id for item in pair} & lost)
    if not kept:
        raise StatisticsError(f"battery {battery.name!r} has no pair whose activations are finite.")
    if len(kept) < len(pairs):
        without = len(pairs) - len(kept)
        warnings.warn(f"left out {without} pairs: their activations are not finite.", stacklevel=3)
    return kept


def usable_pairs(
    battery: Battery, model: LanguageModel, *, read: Container[str], quarantined: Container[str]
) -> Pairs:
    """The twins that a study works on: those whose texts were both `read`, by content as in
    `ordered_pairs`.

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
    lost = set(same)
    found = [pair for pair in found if pair.affective.id not in lost]
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
