"""Weighing: what a battery lets pass and still deserves a doubt."""

import statistics
import unicodedata
from collections.abc import Sequence

from stimuli.drafts import Draft
from stimuli.review import group, is_neutral, members
from stimuli.rows import Ledger
from stimuli.unseen import unseen_by_label, unseen_differences

_LARGE_EFFECT = 0.5


_FEWEST_PAIRS = 8


_UNEQUAL = 1.5


def weigh_unseen(found: Sequence[Draft], ledger: Ledger) -> None:
    """Find what tells affective from neutral twins by form alone (see `stimuli.unseen`), and twins
    written in different Unicode forms: they differ to a tokenizer where they look alike.
    """
    pairs = {name: sorted(drafts, key=is_neutral) for name, drafts in members(found).items()}
    for name, drafts in pairs.items():
        texts = [draft.values["text"] for draft in drafts]
        if len({text.isascii() or unicodedata.is_normalized("NFC", text) for text in texts}) > 1:
            ledger.find(
                "pairs with one text in NFC and one not (tokens differ for an invisible reason)",
                repr(name),
            )
    if not pairs:
        _weigh_labels(found, ledger)
    affective, neutral = (
        [drafts[side].values["text"] for drafts in pairs.values()] for side in (0, 1)
    )
    groups = [group(drafts[0]) for drafts in pairs.values()]
    for difference in unseen_differences(affective, neutral, groups):
        ledger.find(
            f"form alone tells affective from neutral texts: {difference.trait}", str(difference)
        )


def _weigh_labels(found: Sequence[Draft], ledger: Ledger) -> None:
    """Find what tells one label's texts from all others by form alone, where there are no twins."""
    texts, labels = ([draft.values[name] for draft in found] for name in ("text", "emotion"))
    for trait, label, share, other, p in unseen_by_label(texts, labels, [group(d) for d in found]):
        ledger.find(
            f"form alone tells one label from the others: {trait}",
            f"{share:.0%} of {label!r} and {other:.0%} of the others (p = {p:.1g})",
        )


def weigh_lengths(found: Sequence[Draft], ledger: Ledger) -> None:
    """Find a difference in length (words) between affective and neutral twins: Cohen's d of .5 or
    more, and unequal pairs.
    """
    lengths = [
        [len(d.values["text"].split()) for d in sorted(ds, key=is_neutral)]
        for ds in members(found).values()
    ]
    for name, pair in zip(members(found), lengths, strict=True):
        if max(pair) > _UNEQUAL * min(pair):
            ledger.find(
                f"pairs in which one text is over {_UNEQUAL} times as long",
                f"{name!r} ({pair[0]} and {pair[1]} words)",
            )
    if len(lengths) < _FEWEST_PAIRS:
        return
    affective, neutral = zip(*lengths, strict=True)
    spread = ((statistics.variance(affective) + statistics.variance(neutral)) / 2) ** 0.5
    difference = statistics.fmean(affective) - statistics.fmean(neutral)
    effect = difference / spread if spread else (0.0 if difference == 0 else float("inf"))
    if abs(effect) >= _LARGE_EFFECT:
        told = (
            f"d = {effect:.2f}, {statistics.fmean(affective):.1f} words against "
            f"{statistics.fmean(neutral):.1f}"
        )
        ledger.find("length alone tells affective from neutral texts", told)
