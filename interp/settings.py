"""Settings: what a person may ask of a study, each with its default, its help and its choices.

The records lie apart from `interp.study`, which works with them, so that the command line can show
its options without importing torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import stimuli
from interp.capture.options import Options
from interp.common_options import ACROSS, MODEL, OPTIMAL_CIRCUITS, SEED, SOFT, split, split_sites
from interp.defaults import (
    ATTRIBUTE_WITH,
    CORES,
    DIRECTION,
    GRADED_PROBE,
    PATCH_CONTROLS,
    PATCH_METRICS,
    PATCH_MODES,
    PATCH_POSITIONS,
    PATH_STEPS,
    PROBE,
    STAND_IN,
)
from interp.errors import UsageError
from interp.options import about, check
from interp.sites import LAST, SITE_NAMES
from stimuli.battery import Battery

DEFAULT_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "post")
DEFAULT_POSITIONS = (LAST, "mean_content")


def columns_of(text: str) -> dict[str, str]:
    """Our columns and the file's, out of OURS=THEIRS between commas; `UsageError` for other
    texts.
    """
    found: dict[str, str] = {}
    for part in split(text):
        ours, equals, theirs = (side.strip() for side in part.partition("="))
        if not (ours and equals and theirs):
            raise UsageError(f"{part!r} is not OURS=THEIRS, such as text=Sentence.")
        if ours in found:
            raise UsageError(f"{ours!r} is named twice.")
        found[ours] = theirs
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How a model is loaded; see `interp.models.load`."""

    GROUP: ClassVar[str] = "Model"

    device: str = field(
        default="cpu",
        metadata=about("cpu, cuda, cuda:1, mps, or auto: spread over all GPUs, then CPU memory."),
    )
    dtype: str = field(
        default="float32",
        metadata=about(
            "What the model computes in.",
            choices=("float32", "bfloat16", "float16"),
        ),
    )
    chat_template: str | None = field(
        default=None,
        metadata=about(
            "Give texts as chat turns: on (the tokenizer's template), off, or a file with a "
            "Jinja template."
        ),
    )
    offline: bool = field(default=False, metadata=about("Never touch the network."))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How stimuli are read; see `stimuli.load`."""

    GROUP: ClassVar[str] = "Texts"

    emotions: tuple[str, ...] = field(
        default=(),
        metadata=about("Keep these emotions (comma-separated) and neutral texts.", parse=split),
    )
    columns: Mapping[str, str] = field(
        default_factory=dict,
        metadata=about(
            "Which column is which: text=Sentence,emotion=Label; numbers from 1 where a table "
            "has no line of names.",
            parse=columns_of,
        ),
    )
    drop_unmatched: bool = field(
        default=False,
        metadata=about("Leave out pairs that lack a twin, and say which."),
    )
    normalise_labels: bool = field(
        default=False,
        metadata=about("Unify case and spaces of emotion labels."),
    )
    dedupe: bool = field(
        default=False,
        metadata=about("Keep one of rows with the same id and content."),
    )
    allow_control: bool = field(
        default=False,
        metadata=about("Accept control characters in texts."),
    )
    strict: bool = field(
        default=False,
        metadata=about("Make every warning about the stimuli an error."),
    )

    def read(self, source: str | Path) -> Battery:
        """The battery of this name or in this file, read so. Raises as `stimuli.load`."""
        return stimuli.load(
            source,
            drop_unmatched=self.drop_unmatched,
            normalise_labels=self.normalise_labels,
            dedupe=self.dedupe,
            allow_control=self.allow_control,
            strict=self.strict,
            emotions=self.emotions or None,
            columns=self.columns or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What is asked of a study: its model, its texts, and by which methods."""

    GROUP: ClassVar[str] = "Study"

    model: str = field(metadata=MODEL)
    stimuli: str = field(
        metadata=about(
            "A battery's name or a file; see `interp stimuli list`.",
            group="Texts",
            offers=stimuli.names,
        )
    )
    out: Path = field(metadata=about("The run's folder; given again, it resumes."))
    loading: ModelOptions = field(default_factory=ModelOptions)
    texts: TextOptions = field(default_factory=TextOptions)
    sites: tuple[str, ...] = field(
        default=DEFAULT_SITES,
        metadata=about(
            "Sites, such as resid_post,z or resid_post@0-3.",
            group="Capture",
            parse=split_sites,
            offers=lambda: SITE_NAMES,
        ),
    )
    positions: tuple[str, ...] = field(
        default=DEFAULT_POSITIONS,
        metadata=about(
            "Position rules: last, mean_content, role(user), ...",
            group="Capture",
            parse=split_sites,
        ),
    )
    capture: Options = field(default_factory=Options)
    preset: str = field(
        default="standard",
        metadata=about(
            "How much is run; --dry-run says what each means.",
            choices=("quick", "standard", "full"),
        ),
    )
    pairs: int | None = field(
        default=None,
        metadata=about(
            "Pairs per emotion in the causal stages; unsaid, what the preset says.", least=2
        ),
    )
    folds: int = field(default=5, metadata=about("Grouped cross-validation folds.", least=2))
    probe: str = field(
        default=PROBE,
        metadata=about(
            "What reads the emotion from activations.", choices="interp.analysis.probes:PROBES"
        ),
    )
    beside: str | None = field(
        default=None,
        metadata=about(
            "What else is measured of each probe of classes, several between commas: mdl (how "
            "short a code its labels have), erased (its score where each nuisance is erased), rank "
            "(of the right class), depth (from which layer on). Unsaid, nothing.",
            choices="interp.analysis.beside:BESIDE_PROBES",
            several=True,
        ),
    )
    targets: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Fields of the texts that probes read, too, such as intensity,appraisal.agent: numbers "
            "and steps by the graded probe, other words as classes.",
            parse=split,
        ),
    )
    soft: tuple[str, ...] = field(default=(), metadata=SOFT)
    across: tuple[str, ...] = field(default=(), metadata=ACROSS)
    graded_probe: str = field(
        default=GRADED_PROBE,
        metadata=about(
            "What reads a field that holds numbers or steps.",
            choices="interp.analysis.graded:GRADED",
        ),
    )
    control_model: str | None = field(
        default=None,
        metadata=about(
            "A further model that the same probes read: random, of the same shape with random "
            "weights. All texts are captured once more. Unsaid, none.",
            choices=("random",),
        ),
    )
    direction: str = field(
        default=DIRECTION,
        metadata=about(
            "How an emotion's direction is found.", choices="interp.analysis.methods:DIRECTIONS"
        ),
    )
    ablate_with: str = field(
        default=STAND_IN,
        metadata=about(
            "What heads and neurons are set to where they are knocked out.",
            choices="interp.causal.stand_ins:STAND_INS",
        ),
    )
    patch_modes: tuple[str, ...] = field(
        default=PATCH_MODES,
        metadata=about(
            "Ways of patching: denoise and noise between twins, swap between texts of two "
            "emotions.",
            parse=split,
        ),
    )
    patch_positions: tuple[str, ...] = field(
        default=PATCH_POSITIONS,
        metadata=about(
            "Where a text is patched: last, edit, first, all, span(field).", parse=split
        ),
    )
    patch_controls: tuple[str, ...] = field(
        default=PATCH_CONTROLS,
        metadata=about(
            "What stands beside a patch: random_source, other_emotion, random_of_same_norm.",
            parse=split,
        ),
    )
    patch_metrics: tuple[str, ...] = field(
        default=PATCH_METRICS,
        metadata=about(
            "What is told of a patch besides: kl, kl_target, success, copy.", parse=split
        ),
    )
    attribute_with: str = field(
        default=ATTRIBUTE_WITH,
        metadata=about(
            "Which gradient estimates what a patch would do.",
            choices="interp.causal.estimates:ESTIMATES",
        ),
    )
    steps: int = field(
        default=PATH_STEPS, metadata=about("Steps of the path of integrated gradients.", least=1)
    )
    dtype_error: bool = field(
        default=False,
        metadata=about(
            "Say how far effects in --dtype are from those in float32, on a few pairs; loads the "
            "model once more."
        ),
    )
    optimal_circuits: bool = field(default=False, metadata=OPTIMAL_CIRCUITS)
    judge: str | None = field(
        default=None,
        metadata=about(
            "Who says which emotion a steered text expresses: one, or several between commas, "
            "forced_choice[:MODEL], lexicon[:FILE.json], classifier:FOLDER, embedding:BATTERY, "
            "endpoint:MODEL@URL (a chat model behind OpenAI's protocol: the texts are sent to that "
            "address; its key is INTERP_JUDGE_KEY in the environment), and "
            "masked:JUDGE, which is shown no emotion word. The first one chooses where to steer. "
            "Unsaid, a testbed's oracle, and for other models nobody.",
            choices="interp.evaluation.judges:JUDGES",
            several=True,
        ),
    )
    analyse_by: str = field(
        default=CORES,
        metadata=about(
            "Who computes probes: cores (this machine's, where it pays), serial, processes:N, "
            "ray:N."
        ),
    )
    seed: int = field(default=0, metadata=SEED)
