"""Options that several commands ask alike, each described once; and how lists between commas are
read.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import stimuli
from interp.errors import UsageError
from interp.lazy import keys_of
from interp.options import about

_Kind = TypeVar("_Kind", int, float)


def split(text: str) -> tuple[str, ...]:
    """The parts of `text` between its commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def split_sites(text: str) -> tuple[str, ...]:
    """`split`, but for a comma inside a range of layers, which does not part: `resid_post@0,3`."""
    return tuple(part.strip() for part in re.split(r",(?!\s*\d)", text) if part.strip())


def numbers_of(text: str) -> tuple[float, ...]:
    """The numbers between commas. Raises `UsageError` for what is none."""
    return _listed(text, float, "numbers, such as 0.7,1,1.3")


def layers_of(text: str) -> tuple[int, ...]:
    """The layers between commas. Raises `UsageError` for what is none."""
    return _listed(text, int, "layers, such as 15,20")


def counts_of(text: str) -> tuple[int, ...]:
    """The counts between commas. Raises `UsageError` for what is none."""
    return _listed(text, int, "counts, such as 1,2,4")


def _listed(text: str, kind: Callable[[str], _Kind], expected: str) -> tuple[_Kind, ...]:
    try:
        return tuple(map(kind, split(text)))
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of {expected}.") from error


def model_names() -> tuple[str, ...]:
    """The names of the models that come with the package, or in one that it knows."""
    return (
        *keys_of("interp.testbeds.records:TESTBEDS"),
        *keys_of("interp.models.loading.packaged:PACKAGED"),
    )


MODEL = about(
    "A testbed (storyworld), smollm2, a folder, a .gguf file, or org/name@revision.",
    group="Model",
    offers=model_names,
)
TWINS = about(
    "A battery's name or file, with twins of each emotion.", group="Texts", offers=stimuli.names
)
CHOSEN_EMOTIONS = about("Emotions between commas; unsaid, all of them.", parse=split)
FOLDER = about("The folder for tables, figures and record; a new one.")
PROMPT_FILE = about(
    "A file with a prompt on each line. Else everyday openings, and for a testbed its battery's "
    "neutral texts."
)
READ_LAYER = about(
    "The layer that is read, above the one that is steered. By default half of the way from there "
    "to the last."
)
OPTIMAL_CIRCUITS = about(
    "Hold circuits against as many parts ranked by integrated gradients, and chosen greedily by "
    "what the words lose without each; takes longer.",
    group="Study",
)
ACROSS = about(
    "Fields of the texts, such as domain,person,tense: `transfer` also fits probes on all values "
    "but one and tests them on that one. Unsaid, on none.",
    parse=split,
)
SOFT = about(
    "Number fields of the texts, one per emotion, such as shares.joy,shares.fear: the soft label "
    "of a text, which a probe tells, too. Unsaid, none.",
    parse=split,
)
SEED = about("Seed of everything random.")
