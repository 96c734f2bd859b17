"""Two pairs of twins that the record keeps, for a reader to see what the texts are like."""

from stimuli.battery import Battery, Pair

HOW_MANY = 2
LONGEST_SHOWN = 4000
"""Characters of both twins together beyond which a pair is too long to be an example."""


def examples(battery: Battery) -> list[dict[str, str]]:
    """Of the first emotions (by name) the shortest pair each, as `emotion`, `affective`, `neutral`;
    none where there are no twins. Equal lengths are told apart by their text.
    """
    shortest: dict[str, Pair] = {}
    for pair in sorted(battery.pairs(), key=lambda pair: (_length(pair), pair.affective.text)):
        if _length(pair) <= LONGEST_SHOWN:
            shortest.setdefault(pair.affective.emotion, pair)
    return [
        {
            "emotion": emotion,
            "affective": shortest[emotion].affective.text,
            "neutral": shortest[emotion].neutral.text,
        }
        for emotion in sorted(shortest)[:HOW_MANY]
    ]


def _length(pair: Pair) -> int:
    return len(pair.affective.text) + len(pair.neutral.text)
