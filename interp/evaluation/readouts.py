"""Which words a model's expectation of an emotion is read by: a testbed's own, or those of
`stimuli/prompts/readout.json`.
"""

from collections.abc import Mapping, Sequence

from interp.causal.readout import Readout
from interp.testbeds import planted, storyworld
from stimuli.words import prompts

TESTBEDS = (*planted.SPECS, "storyworld")
"""Models whose vocabulary is their own: an emotion that they have no words for cannot be asked
for.
"""


def readout_for(model: str, emotions: Sequence[str]) -> Readout:
    """The readout of `emotions` for the model of this name.

    `storyworld` is asked behind its own cue ("... Then Mara" + " felt"), the planted models
    directly; any other model by the entry of `stimuli/prompts/readout.json` that knows most of the
    labels (the first of equals). An emotion that has no words there is asked for by its own name.
    """
    known, suffix = _known(model, emotions)
    return Readout({emotion: known.get(emotion, [emotion]) for emotion in emotions}, suffix)


def without_words(model: str, emotions: Sequence[str]) -> list[str]:
    """Those of `emotions` that the readout of this model has no words for; known without loading
    it.
    """
    known, _ = _known(model, emotions)
    return [emotion for emotion in emotions if emotion not in known]


def _known(model: str, emotions: Sequence[str]) -> tuple[Mapping[str, Sequence[str]], str]:
    """The words by emotion and the suffix behind which they are expected."""
    if model in planted.SPECS:
        return planted.readout(planted.SPECS[model]), ""
    if model == "storyworld":
        return {
            emotion: list(storyworld.feelings(emotion)) for emotion in storyworld.EMOTIONS
        }, " felt"
    entries = [entry for entry in prompts("readout").values() if isinstance(entry, dict)]
    best = max(entries, key=lambda entry: len(set(emotions) & set(entry["words"])))
    return best["words"], best["suffix"]
