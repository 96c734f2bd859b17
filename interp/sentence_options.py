"""What a person may ask of the commands that steer a sentence or a conversation, of an evaluation
of steering, and of the commands that find circuits and paths.

As `interp.settings`, it lies apart from `interp.study`, so that the command line can show these
options without importing torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp.common_options import (
    CHOSEN_EMOTIONS,
    FOLDER,
    MODEL,
    OPTIMAL_CIRCUITS,
    PROMPT_FILE,
    SEED,
    TWINS,
    layers_of,
    numbers_of,
)
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

    model: str = field(metadata=MODEL)
    loading: ModelOptions = field(default_factory=ModelOptions)
    emotion: str | None = field(
        default=None,
        metadata=about(
            "Where to steer: joy, or a mixture of several with weights, joy=1,fear=0.5."
        ),
    )
    direction: Path | None = field(
        default=None,
        metadata=about(
            "A saved direction (.safetensors, or a .gguf control vector) to steer along."
        ),
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


_LAYERS = about(
    "Layers to choose among. By default the middle one and two thirds of the way up.",
    parse=layers_of,
)
_SCALES = about("Strengths to choose among, in --unit.", parse=numbers_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOptions:
    """What is evaluated; see `interp.evaluation.steering.SteeringTrial`."""

    GROUP: ClassVar[str] = "Study"

    out: Path = field(metadata=FOLDER)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    layers: tuple[int, ...] = field(default=(), metadata=_LAYERS)
    scales: tuple[float, ...] = field(default=(0.7, 1.0, 1.3), metadata=_SCALES)
    judge: str | None = field(
        default=None,
        metadata=about(
            "Who reads the texts, as in `interp run`; the first one chooses layer and strength. "
            "Unsaid, a testbed's oracle. Only endpoint:MODEL@URL sends the texts anywhere: to that "
            "address.",
            choices="interp.evaluation.judges:JUDGES",
            several=True,
        ),
    )
    prompts: Path | None = field(default=None, metadata=PROMPT_FILE)
    n_prompts: int = field(default=32, metadata=about("Prompts, at most.", least=2))
    draws: int = field(default=20, metadata=about("Random directions.", least=1))
    circuit: Path | None = field(
        default=None,
        metadata=about(
            "A file of `interp circuit` with a circuit of every emotion, which are an arm of their "
            "own."
        ),
    )
    instruction: str | None = field(
        default=None,
        metadata=about(
            "How the model is asked in words, with {emotion} and {text}. Testbeds are not asked "
            "unless this is given."
        ),
    )
    sheet: Path | None = field(
        default=None,
        metadata=about(
            "A new CSV file for people: the texts, blinded and shuffled, with an empty column to "
            "fill in. `interp score-sheet` reads it back."
        ),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionOptions:
    """What is asked about added directions; see `interp.evaluation.introspection`."""

    GROUP: ClassVar[str] = "Study"

    out: Path = field(metadata=about("The folder for tables, figures and record; a new one."))
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    layers: tuple[int, ...] = field(default=(), metadata=_LAYERS)
    scales: tuple[float, ...] = field(default=(0.5, 1.0, 2.0), metadata=_SCALES)
    n_pairs: int = field(default=32, metadata=about("Pairs of texts, at most.", least=4))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitOptions:
    """Which circuits are found, and where they are written; see `interp.study.circuits`."""

    GROUP: ClassVar[str] = "Study"

    model: str = field(metadata=MODEL)
    loading: ModelOptions = field(default_factory=ModelOptions)
    stimuli: str = field(metadata=TWINS)
    emotion: str = field(
        default="all",
        metadata=about("Whose circuit: emotions between commas, or all of the battery's."),
    )
    out: Path = field(metadata=about("The file (JSON) that the circuits are written into."))
    budget: int | None = field(
        default=None,
        metadata=about(
            "Parts of a circuit, three heads to seven neurons; unsaid, ten per sublayer, or what "
            "the model allows.",
            least=2,
        ),
    )
    pairs: int = field(
        default=8, metadata=about("Pairs per emotion on which it is measured, at most.", least=1)
    )
    optimal_circuits: bool = field(default=False, metadata=OPTIMAL_CIRCUITS)
    seed: int = field(default=0, metadata=SEED)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOptions:
    """Which paths are searched; see `interp.causal.path_search.PathSearch`."""

    GROUP: ClassVar[str] = "Study"

    model: str = field(metadata=MODEL)
    loading: ModelOptions = field(default_factory=ModelOptions)
    stimuli: str = field(metadata=TWINS)
    emotions: tuple[str, ...] = field(default=(), metadata=CHOSEN_EMOTIONS)
    out: Path = field(metadata=FOLDER)
    senders: int = field(
        default=6,
        metadata=about(
            "Heads and MLPs from which paths begin: those estimated to do most.", least=1
        ),
    )
    position: str = field(
        default="last",
        metadata=about(
            "Where senders are patched: the text's last token, or the tokens that differ.",
            choices=("last", "edit"),
        ),
    )
    top: int = field(
        default=8,
        metadata=about("Edges that are patched exactly, and as many random ones.", least=1),
    )
    pairs: int = field(
        default=4,
        metadata=about(
            "Pairs per emotion of each half of the scenarios: one chooses, one is told of.", least=1
        ),
    )
    seed: int = field(default=0, metadata=SEED)

    def __post_init__(self) -> None:
        check(self)
