"""What a person may ask of the command that takes a model apart.

As `interp.settings`, it lies apart from `interp.study`, so that the command line can show these
options without importing torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp.defaults import ENHANCE_BY, FACTOR, STAND_IN
from interp.errors import UsageError
from interp.options import about, check
from interp.settings import ModelOptions, split


def counts_of(text: str) -> tuple[int, ...]:
    """The counts between commas. Raises `UsageError` for what is none."""
    try:
        return tuple(map(int, split(text)))
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of counts, such as 1,2,4.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DissectionOptions:
    """What a model is asked part by part; see `interp.study.dissection`."""

    GROUP: ClassVar[str] = "Study"

    model: str = field(
        metadata=about(
            "A testbed (storyworld), smollm2, a folder, a .gguf file, or org/name@revision.",
            group="Model",
        )
    )
    loading: ModelOptions = field(default_factory=ModelOptions)
    stimuli: str = field(
        metadata=about("A battery's name or file, with twins of each emotion.", group="Texts")
    )
    emotions: tuple[str, ...] = field(
        default=(),
        metadata=about("Emotions between commas; unsaid, all of the battery's.", parse=split),
    )
    out: Path = field(metadata=about("The folder for tables, figures and record; a new one."))
    ask: str | None = field(
        default=None,
        metadata=about(
            "What to ask, between commas; unsaid, everything. layers: knock out whole layers; "
            "directions: ablate them; parts: ablate and enhance heads and neurons; attention: "
            "what heads look at; lens: the logit lens.",
            choices="interp.study.dissection:DISSECTIONS",
            several=True,
        ),
    )
    pairs: int = field(default=8, metadata=about("Pairs per emotion, at most.", least=1))
    ks: tuple[int, ...] = field(
        default=(1, 2, 4, 8),
        metadata=about("How many parts are changed together.", parse=counts_of),
    )
    draws: int = field(
        default=20, metadata=about("Random choices beside each; a fifth for layers.", least=5)
    )
    ablate_with: str = field(
        default=STAND_IN,
        metadata=about(
            "What is put in the place of what is knocked out.",
            choices="interp.causal.stand_ins:STAND_INS",
        ),
    )
    enhance_by: str = field(
        default=ENHANCE_BY,
        metadata=about(
            "How parts are enhanced: set to the emotional twin's value, or multiplied.",
            choices="interp.causal.ablation:WAYS_UP",
        ),
    )
    factor: float = field(
        default=FACTOR,
        metadata=about("By how much they are multiplied (--enhance-by scale).", above=1),
    )
    layer: int | None = field(
        default=None,
        metadata=about(
            "Where directions are fitted and ablated. By default two thirds of the way up.", least=0
        ),
    )
    seed: int = field(default=0, metadata=about("Seed of everything random."))

    def __post_init__(self) -> None:
        check(self)
        if not self.ks or min(self.ks) < 1:
            raise UsageError(f"ks are {self.ks}: give counts from 1 on, such as 1,2,4.")
