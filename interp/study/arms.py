"""The arms of a battery that a probe can be carried between: the same scenarios told in other ways,
each text beside its neutral twin.
"""

from collections.abc import Mapping, Sequence

from stimuli.battery import EVOKING, Battery, Pair

Arms = Mapping[str, Sequence[Pair]]
"""The twins of each arm, by its name."""


def arms_of(battery: Battery, emotions: Sequence[str], *, folds: int) -> tuple[Arms, str]:
    """The arms that have `folds` scenarios of every one of `emotions`, with their twins, and what
    is to be said of the others (empty: nothing).
    """
    kept, told = {}, []
    for arm, pairs in battery.twinned(EVOKING).items():
        own = [pair for pair in pairs if pair.affective.emotion in emotions]
        counts = {
            emotion: len({p.affective.group for p in own if p.affective.emotion == emotion})
            for emotion in emotions
        }
        few = {emotion: n for emotion, n in counts.items() if n < folds}
        if few:
            least = ", ".join(f"{emotion!r} {n}" for emotion, n in few.items())
            told.append(f"{arm} has fewer than {folds} scenarios of {least}.")
        else:
            kept[arm] = own
    return kept, " ".join(told)


def too_few_arms(battery: Battery, emotions: Sequence[str], *, folds: int) -> str | None:
    """Why no probe can be carried from one arm to another; None where one can."""
    kept, told = arms_of(battery, emotions, folds=folds)
    if len(kept) >= 2:
        return None
    there = f"there is {next(iter(kept))} alone" if kept else "there is none"
    return (
        f"a probe is carried between two arms of texts that evoke an emotion ({', '.join(EVOKING)})"
        f", and {there}. {told}".strip()
    )
