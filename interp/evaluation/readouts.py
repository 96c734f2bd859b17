"""Which words a model's expectation of an emotion is read by: a testbed's own, or those of `stimuli/prompts/readout.json`."""

from collections.abc import Sequence

from interp.causal.readout import Readout
from interp.testbeds import planted, storyworld
from stimuli.words import prompts


def readout_for(model: str, emotions: Sequence[str]) -> Readout:
    """The readout of `emotions` for the model of this name.

    `storyworld` is asked behind its own cue ("... Then Mara" + " felt"), the planted models directly; any other model by the
    entry of `stimuli/prompts/readout.json` that knows most of the labels (the first of equals). An emotion that has no words
    there is asked for by its own name.
    """
    if model in planted.SPECS:
        known, suffix = planted.readout(planted.SPECS[model]), ""
    elif model == "storyworld":
        known, suffix = {emotion: list(storyworld.feelings(emotion)) for emotion in storyworld.EMOTIONS}, " felt"
    else:
        entries = [entry for entry in prompts("readout").values() if isinstance(entry, dict)]
        best = max(entries, key=lambda entry: len(set(emotions) & set(entry["words"])))
        known, suffix = best["words"], best["suffix"]
    return Readout({emotion: known.get(emotion, [emotion]) for emotion in emotions}, suffix)
