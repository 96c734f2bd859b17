"""A transformer whose emotion circuit is written by hand, so that what a method finds can be held
against the truth.
"""

from functools import partial

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp.testbeds.planted.known import Truth, truth
from interp.testbeds.planted.spec import PlantedSpec
from interp.testbeds.planted.texts import (
    build_word_tokenizer,
    planted_continuations,
    readout,
    stimuli,
)
from interp.testbeds.planted.weights import build_planted
from interp.testbeds.records import Testbed

__all__ = [
    "RECORDS",
    "SPECS",
    "PlantedSpec",
    "Truth",
    "build",
    "readout",
    "record_of",
    "stimuli",
    "truth",
]

SPECS = {"planted": PlantedSpec(), "planted_null": PlantedSpec(circuit=False)}
"""The models that have names: `interp.models.load("planted")`."""


def build(spec: PlantedSpec) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The Hugging Face model and tokenizer of `spec`, in memory, in about a second."""
    return build_planted(spec), build_word_tokenizer(spec)


def record_of(spec: PlantedSpec) -> Testbed:
    """What `interp.testbeds.records` is to know of the model of `spec`."""
    return Testbed(
        source=partial(build, spec),
        words=readout(spec),
        suffix="",
        battery=lambda seed: stimuli(spec, seed=seed),
        continuations=planted_continuations(spec),
    )


RECORDS = {name: record_of(spec) for name, spec in SPECS.items()}
"""What `interp.testbeds.records` asks for."""
