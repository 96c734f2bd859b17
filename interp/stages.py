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
    out.
    """

    name: str
    function: str
    command: str
    asks: tuple[str, ...] = ()


STAGES = (
    Stage("capture", "representation.capture", "capture"),
    Stage("probes", "representation.probes", "probe", asks=("reception", "categorisation")),
    Stage("directions", "representation.directions", "directions", asks=("directions",)),
    Stage("cosines", "representation.cosines", "directions", asks=("directions",)),
    Stage("patching", "causes.patching", "patch", asks=("readout",)),
    Stage("contributions", "causes.contributions", "ablate", asks=("directions",)),
    Stage("ablation", "causes.ablation", "ablate", asks=("readout",)),
    Stage("steering", "causes.steering", "steering", asks=("readout",)),
)

COMMANDS: Mapping[str, str] = {
    "capture": "Record hidden states at every site into OUT/activations.",
    "probe": "Linear probes beside text baselines and a control task.",
    "directions": "Emotion directions and how well they separate held-out twins.",
    "patch": "Activation patching between twins: site x layer, at two positions.",
    "ablate": "Contributions of heads and neurons; ablation of the top k against random k.",
    "steering": "Steer neutral texts along each direction, over strengths.",
}
"""What each command that runs some of the stages does, for its help."""
