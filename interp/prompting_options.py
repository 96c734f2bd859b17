"""What a person may ask of the commands that try what is said around a text: label words behind it,
a system prompt or a framing before it, a direction that is let go, and a state over turns.

As `interp.sentence_options`, it lies apart from `interp.study`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp.common_options import (
    CHOSEN_EMOTIONS,
    FOLDER,
    MODEL,
    PROMPT_FILE,
    READ_LAYER,
    SEED,
    counts_of,
    layers_of,
    split,
)
from interp.options import about, check
from interp.settings import ModelOptions

ONE_JUDGE = about(
    "Who hears the replies, as in `interp run`, one of them; unsaid, a testbed's oracle, else the "
    "unsteered model's forced choice.",
    choices="interp.evaluation.judges:JUDGES",
    several=True,
)


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
    scan_tokens: int = field(
        default=8,
        metadata=about(
            "Last tokens of the tasks that are scanned at every layer, at most, beside places "
            "along the framing; 0: no scan.",
            least=0,
        ),
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
    read_layer: int | None = field(default=None, metadata=READ_LAYER)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicsOptions:
    """How a state moves over the turns of conversations; see `interp.analysis.dynamics` and
    `interp.evaluation.told_states`.
    """

    GROUP: ClassVar[str] = "Study"

    out: Path = field(metadata=FOLDER)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    adverse: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Emotions of the adverse turns; unsaid, those that people rate as less pleasant than "
            "the mean of --emotions.",
            parse=split,
        ),
    )
    conversations: int = field(
        default=8, metadata=about("Conversations, which share no scenario.", least=2)
    )
    turns: tuple[int, ...] = field(
        default=(8, 8, 9),
        metadata=about("Calm turns, adverse ones, and calm ones again.", parse=counts_of),
    )
    history: int = field(
        default=2, metadata=about("Earlier exchanges that the model sees.", least=0)
    )
    retention: float = field(
        default=0.8, metadata=about("The share of a state that a turn leaves.", least=0)
    )
    momentum: float = field(
        default=0.7,
        metadata=about("The share of its last move that goes on, in the second order.", least=0),
    )
    tell: str = field(
        default="steering",
        metadata=about(
            "How the model is told its state: by steering along emotions' directions, or by a "
            "sentence of numbers (words).",
            choices=("steering", "words"),
        ),
    )
    affect: str = field(
        default="label",
        metadata=about(
            "Whence the affect of a user's turn: its emotion in the battery (label), or the one "
            "that the judge hears (judge).",
            choices=("label", "judge"),
        ),
    )
    judge: str | None = field(default=None, metadata=ONE_JUDGE)
    read_layer: int | None = field(default=None, metadata=READ_LAYER)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElicitOptions:
    """Which replies are elicited, and which of them make directions; see
    `interp.evaluation.elicited` and `interp.analysis.elicited`.
    """

    GROUP: ClassVar[str] = "Study"

    out: Path = field(
        metadata=about("The folder for directions, tables, figure and record; a new one.")
    )
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    prompts: Path | None = field(default=None, metadata=PROMPT_FILE)
    n_prompts: int = field(default=32, metadata=about("Prompts, at most.", least=2))
    judge: str | None = field(default=None, metadata=ONE_JUDGE)
    instruction: str | None = field(
        default=None,
        metadata=about(
            "How a reply is asked for, with {emotion} and {text}. Unsaid, for a short reaction in "
            "the tone of the emotion; for plain texts that of evaluate-steering."
        ),
    )
    neutral_instruction: str | None = field(
        default=None,
        metadata=about("The same without an emotion, with {text}. Unsaid, its counterpart."),
    )
    least: int = field(
        default=4,
        metadata=about(
            "Replies, each to another question, that an emotion must have kept; one with fewer is "
            "left out.",
            least=2,
        ),
    )
    layers: tuple[int, ...] = field(
        default=(), metadata=about("Layers that are read; unsaid, all.", parse=layers_of)
    )
    position: str = field(
        default="reply_mean",
        metadata=about(
            "Where a reply is read: the mean over its own tokens, or the last of them.",
            choices=("reply_mean", "reply_last"),
        ),
    )
    draws: int = field(
        default=199, metadata=about("Shuffles of the labels within questions, for p.", least=19)
    )

    def __post_init__(self) -> None:
        check(self)
