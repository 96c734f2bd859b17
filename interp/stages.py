"""The stages of a study, in order: the one list from which the run, its commands and its report are
made.

A stage is a function in `interp/study/` and a section of the report, the file of the stage's name
in `interp/reporting/sections/`, where it has something to show. Nothing heavy is imported here.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Stage(NamedTuple):
    """A stage of a study.

    `name` is also that of its table; `function` is `module.function` of `interp.study`; `command`
    runs it alone, and those of one command run one after the other. `asks` are the questions it
    asks of a battery (`interp.study.conditions`): where none of them can be answered, it is left
    out. `beside` are further tables that it may leave (`Study.beside`).
    """

    name: str
    function: str
    command: str
    asks: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


class StageCommand(NamedTuple):
    """A command that runs some of the stages: what it does, the methods' settings that it uses
    (`interp.cli.study.METHOD_OPTIONS`), and what the example in its help asks for.
    """

    told: str
    uses: tuple[str, ...] = ()
    example: str = "--preset quick"


STAGES = (
    Stage("capture", "representation.capture", "capture"),
    Stage(
        "probes",
        "probing.probes",
        "probe",
        asks=("reception", "categorisation"),
        beside=("probe_predictions",),
    ),
    Stage("transfer", "transfer.transfer", "transfer", asks=("transfer",)),
    Stage("persistence", "persistence.persistence", "persistence", asks=("reception",)),
    Stage("directions", "representation.directions", "directions", asks=("directions",)),
    Stage("cosines", "representation.cosines", "directions", asks=("directions",)),
    Stage("geometry", "geometry.geometry", "geometry", asks=("geometry",)),
    Stage("patching", "causes.patching", "patch", asks=("readout",)),
    Stage("attribution", "attribution.attribution", "attribute", asks=("readout",)),
    Stage("contributions", "causes.contributions", "ablate", asks=("directions",)),
    Stage("ablation", "causes.ablation", "ablate", asks=("readout",)),
    Stage("circuit", "circuits.circuit", "circuits", asks=("readout",)),
    Stage("steering", "causes.steering", "steering", asks=("readout",), beside=("steered_texts",)),
)

TABLES = tuple(table for stage in STAGES for table in (stage.name, *stage.beside))
"""All tables that a run may leave."""

STAGE_COMMANDS: Mapping[str, StageCommand] = {
    "capture": StageCommand(
        "Record hidden states at every site into OUT/activations.", example="--shard 0/4"
    ),
    "probe": StageCommand(
        "Linear probes beside text baselines and a control task.",
        uses=(
            "folds",
            "probe",
            "beside",
            "targets",
            "soft",
            "graded_probe",
            "control_model",
            "analyse_by",
            "seed",
        ),
        example="--probe lda",
    ),
    "transfer": StageCommand(
        "Probes fitted on one arm (texts that name the feeling) and tested on another.",
        uses=("folds", "probe", "across", "analyse_by", "seed"),
        example="--probe lda",
    ),
    "persistence": StageCommand(
        "Whether what is read at a text's end stays while the model reads on.",
        uses=("folds", "seed"),
    ),
    "directions": StageCommand(
        "Emotion directions and how well they separate held-out twins.",
        uses=("folds", "direction", "seed"),
        example="--direction lda",
    ),
    "geometry": StageCommand(
        "How the emotions lie to each other, beside the wheel, human ratings and the words.",
        uses=("seed",),
    ),
    "patch": StageCommand(
        "Activation patching between twins, or between emotions: site x layer, at some tokens.",
        uses=("pairs", "patch_modes", "patch_positions", "patch_controls", "patch_metrics", "seed"),
        example="--preset quick --patch-modes swap --patch-metrics success",
    ),
    "attribute": StageCommand(
        "What patching every head and neuron would do, by the gradient; beside exact patches.",
        uses=("attribute_with", "steps", "dtype_error", "pairs", "seed"),
        example="--attribute-with integrated",
    ),
    "ablate": StageCommand(
        "Contributions of heads and neurons; ablation of the top k against random k.",
        uses=("folds", "direction", "pairs", "ablate_with", "seed"),
        example="--ablate-with zero",
    ),
    "circuits": StageCommand(
        "Circuits of heads and neurons: how they are found, and whether they suffice.",
        uses=("ablate_with", "optimal_circuits", "seed"),
        example="--ablate-with mean",
    ),
    "steering": StageCommand(
        "Steer neutral texts along each direction, over strengths.",
        uses=("folds", "direction", "judge", "seed"),
        example="--judge forced_choice,lexicon",
    ),
}
"""The commands that run some of the stages."""
