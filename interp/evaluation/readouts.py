"""Which words a model's expectation of an emotion is read by.

A testbed's own, or those of `stimuli/prompts/readout.json`.
"""

from collections.abc import Mapping, Sequence

from interp.causal.readout import Readout
from interp.models import LanguageModel
from interp.testbeds.records import Testbed, testbed_called, testbed_of
from stimuli.words import prompts

Named = LanguageModel | str
"""A model, which its provenance tells; or its name, where it is not loaded yet."""


def find_testbed(model: Named) -> Testbed | None:
    """The testbed that a model is, whatever its folder is called; None for any other model."""
    if isinstance(model, str):
        return testbed_called(model)
    return testbed_of(model.provenance)


def readout_for(model: Named, emotions: Sequence[str]) -> Readout:
    """The readout of `emotions` for a model.

    A testbed is asked as its record says; any other model by the entry of
    `stimuli/prompts/readout.json` that knows most of the labels (the first of equals). An emotion
    that has no words there is asked for by its own name.
    """
    known, suffix = _known(model, emotions)
    return Readout({emotion: known.get(emotion, [emotion]) for emotion in emotions}, suffix)


def without_words(model: Named, emotions: Sequence[str]) -> list[str]:
    """Those of `emotions` that the readout of this model has no words for."""
    known, _ = _known(model, emotions)
    return [emotion for emotion in emotions if emotion not in known]


def _known(model: Named, emotions: Sequence[str]) -> tuple[Mapping[str, Sequence[str]], str]:
    """The words by emotion and the suffix behind which they are expected."""
    bed = find_testbed(model)
    if bed is not None:
        return bed.words, bed.suffix
    entries = [entry for entry in prompts("readout").values() if isinstance(entry, dict)]
    best = max(entries, key=lambda entry: len(set(emotions) & set(entry["words"])))
    return best["words"], best["suffix"]
