"""What a person may ask of the commands that try what is said around a text: label words behind it,
a system prompt or a framing before it, and a direction that is let go.

As `interp.sentence_options`, it lies apart from `interp.study`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp.common_options import CHOSEN_EMOTIONS, FOLDER, MODEL, PROMPT_FILE, SEED
from interp.options import about, check
from interp.settings import ModelOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotOptions:
    """How the label words are held against a probe; see `interp.analysis.zero_shot`."""

    GROUP: ClassVar[str] = "Study"

    model: str = field(metadata=MODEL)
    loading: ModelOptions = field(default_factory=ModelOptions)
    stimuli: str | None = field(
        default=None,
        metadata=about(
            "The battery whose texts are told: by default plain, or a testbed's own.", group="Texts"
        ),
    )
    out: Path = field(metadata=FOLDER)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    texts_arm: str = field(
        default="keyword_free", metadata=about("The arm of the battery whose texts are read.")
    )
    probe_layer: int | None = field(
        default=None,
        metadata=about("The layer that the probe reads. By default two thirds of the way up."),
    )
    folds: int = field(default=5, metadata=about("Folds of scenarios.", least=2))
    seed: int = field(default=0, metadata=SEED)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MalleabilityOptions:
    """Which texts are read under system prompts; see `interp.analysis.malleability`."""

    GROUP: ClassVar[str] = "Study"

    out: Path = field(metadata=FOLDER)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    n_texts: int = field(default=32, metadata=about("Texts, at most.", least=4))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramingOptions:
    """How many tasks are framed; see `interp.analysis.framings` and `interp.analysis.doses`."""

    GROUP: ClassVar[str] = "Study"

    out: Path = field(metadata=FOLDER)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    n_tasks: int = field(
        default=24,
        metadata=about("Tasks, at most. They come in pairs that share their answers.", least=4),
    )
    draws: int = field(
        default=999, metadata=about("Random orders of the stress levels, for p.", least=19)
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOptions:
    """How long is steered, and how long is read afterwards; see `interp.evaluation.release`."""

    GROUP: ClassVar[str] = "Study"

    out: Path = field(metadata=FOLDER)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    prompts: Path | None = field(default=None, metadata=PROMPT_FILE)
    n_prompts: int = field(default=16, metadata=about("Prompts, at most.", least=2))
    steered: int = field(
        default=8, metadata=about("Tokens that are written under the direction.", least=1)
    )
    after: int = field(
        default=32, metadata=about("Tokens that are written after it is let go.", least=1)
    )
    read_layer: int | None = field(
        default=None,
        metadata=about(
            "The layer that is read, above the one that is steered. By default half of the way "
            "from there to the last."
        ),
    )

    def __post_init__(self) -> None:
        check(self)
