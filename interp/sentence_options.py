"""SentenceOptions: what a person may ask of the commands that steer a sentence or a conversation.

As `interp.settings`, it lies apart from `interp.study`, so that the command line can show these
options without importing torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp.defaults import SENTENCE_ARM
from interp.options import about, check
from interp.settings import ModelOptions

WHERE = ("last+generated", "last", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceOptions:
    """Which direction, how much of it, where, and how the text is written; see
    `interp.study.sources.Wanted` and `interp.study.sentence.Manner`.
    """

    GROUP: ClassVar[str] = "Direction"

    model: str = field(
        metadata=about(
            "A testbed (storyworld), smollm2, a folder, a .gguf file, or org/name@revision.",
            group="Model",
        )
    )
    loading: ModelOptions = field(default_factory=ModelOptions)
    emotion: str | None = field(
        default=None,
        metadata=about(
            "Where to steer: joy, or a mixture of several with weights, joy=1,fear=0.5."
        ),
    )
    direction: Path | None = field(
        default=None, metadata=about("A saved direction (.safetensors) to steer along.")
    )
    run: Path | None = field(
        default=None,
        metadata=about("A finished run's folder, whose directions to steer along."),
    )
    stimuli: str | None = field(
        default=None,
        metadata=about(
            "Else directions are fitted on this battery: by default plain, or a testbed's own. "
            "They are kept in $XDG_CACHE_HOME/interp/directions (~/.cache if that is not set)."
        ),
    )
    arm: str = field(
        default=SENTENCE_ARM,
        metadata=about(
            "The arm of the battery that they are fitted on, centred over its emotions."
        ),
    )
    no_cache: bool = field(
        default=False, metadata=about("Neither read nor keep fitted directions.")
    )
    layer: int | None = field(
        default=None,
        metadata=about(
            "Where the direction is added: the stream after this layer. By default two thirds of "
            "the way up."
        ),
    )
    scale: float = field(
        default=1.0,
        metadata=about("How much is added, in --unit; 0: nothing.", group="Writing"),
    )
    unit: str = field(
        default="dose",
        metadata=about(
            "What a scale of 1 is: 0.3 of the stream's norm (dose), the stream's norm (root mean "
            "square over the fitted texts, at that layer), or the direction's natural length (as "
            "far as held-out texts differ along it).",
            group="Writing",
            choices=("dose", "stream", "length"),
        ),
    )
    where: str = field(
        default=WHERE[0],
        metadata=about(
            "At which tokens: the prompt's last, what is written, or all.",
            group="Writing",
            choices=WHERE,
        ),
    )
    max_new_tokens: int = field(
        default=40, metadata=about("Tokens to write.", group="Writing", least=1)
    )
    temperature: float = field(
        default=0.0, metadata=about("0: always the likeliest token.", group="Writing")
    )
    seed: int = field(default=0, metadata=about("Seed of everything random.", group="Writing"))

    def __post_init__(self) -> None:
        check(self)
