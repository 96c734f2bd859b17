"""What a person may ask of the command that takes a model apart.

As `interp.settings`, it lies apart from `interp.study`, so that the command line can show these
options without importing torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp.common_options import CHOSEN_EMOTIONS, FOLDER, MODEL, SEED, TWINS, counts_of
from interp.defaults import ENHANCE_BY, FACTOR, STAND_IN
from interp.errors import UsageError
from interp.options import about, check
from interp.settings import ModelOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class DissectionOptions:
    """What a model is asked part by part; see `interp.study.dissection`."""

    GROUP: ClassVar[str] = "Study"

    model: str = field(metadata=MODEL)
    loading: ModelOptions = field(default_factory=ModelOptions)
    stimuli: str = field(metadata=TWINS)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    out: Path = field(metadata=FOLDER)
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
    seed: int = field(default=0, metadata=SEED)

    def __post_init__(self) -> None:
        check(self)
        if not self.ks or min(self.ks) < 1:
            raise UsageError(f"ks are {self.ks}: give counts from 1 on, such as 1,2,4.")
