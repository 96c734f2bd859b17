"""The stages of a study as the report tells them: the question, how to read each figure, and the rows worth printing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """A section of the report, made from `tables` (file names without .csv; the first is the one whose rows are printed).

    Of that table, the rows of `metrics` are grouped by `per` and the highest of each group is printed.
    """

    name: str
    title: str
    question: str
    tables: tuple[str, ...]
    metrics: tuple[str, ...]
    per: tuple[str, ...]


STAGES = (
    Stage(
        "probes",
        "Probes: is the emotion there, and where?",
        "A linear classifier is trained on the activations of one site and layer and tested on scenarios that it has not seen. "
        "Reception asks whether a text is emotional or its neutral twin; categorisation asks which emotion it is.",
        ("probes",),
        ("auroc",),
        ("task", "position", "site", "control"),
    ),
    Stage(
        "directions",
        "Directions: is there one axis for each emotion?",
        "Each emotion's direction is the mean difference between its texts and their neutral twins. A useful direction "
        "separates texts that it was not made from, and hardly changes when other scenarios are used.",
        ("directions", "cosines"),
        ("separation_auroc", "split_half_cosine"),
        ("emotion", "metric"),
    ),
    Stage(
        "patching",
        "Patching: which activations carry the emotion to the answer?",
        "One activation of one text is put into the run of its twin. Where the answer follows, the activation carries what the "
        "twins differ in.",
        ("patching",),
        ("restoration", "total_effect", "logit_diff"),
        ("metric", "position", "mode", "site", "control"),
    ),
    Stage(
        "contributions",
        "Contributions: which heads and neurons write the emotion?",
        "What setting each attention head and each neuron to zero takes from the residual stream along the "
        "emotion's direction, computed exactly.",
        ("contributions",),
        ("contribution",),
        ("emotion", "component"),
    ),
    Stage(
        "ablation",
        "Ablation: does the emotion need these components?",
        "The components that contribute most are silenced, and as many random ones of the same layers beside them.",
        ("ablation",),
        ("projection_drop",),
        ("component", "control", "k"),
    ),
    Stage(
        "steering",
        "Steering: does adding the direction make the model express it?",
        "The direction is added while the model writes, and a judge says which emotion the continuation expresses.",
        ("steering",),
        ("success", "valid", "label_logprob"),
        ("emotion", "metric", "control", "half"),
    ),
)
"""The sections of the report, in order."""

READING = {
    "probe_curves": "Higher is better; 0.5 is chance. The score counts only as far as it lies above the grey band of the best "
    "text baseline: below that, the words alone would do. The site's dotted line is what the probe could learn by heart "
    "of scenarios that it has seen; the blue scores are of scenarios that it has not seen. In the table, p of a place is "
    "that of a ridge probe (column p_of); the sentence has its own, of the very AUROC that it tells.",
    "text_baselines": "Grey bars see the text only, never the model. A grey bar near the blue one means that the battery gives "
    "the answer away on the surface.",
    "direction_separation": "Higher is better; 0.5 is chance. Look for the first layer at which the line settles.",
    "direction_stability": "Higher is steadier. Do not interpret or steer with a direction whose two halves disagree.",
    "direction_cosines": "Red: two emotions' directions point the same way; blue: they oppose each other; white: unrelated.",
    "patching_map": "Red cells carry the emotion. It tends to start at the edit and to reach the last token later.",
    "patching_curves": "Where the dotted line is as high as the solid one, what is carried is shared by all scenarios of the "
    "emotion; what the solid line has above it belongs to the one story.",
    "head_contributions": "Dark red heads write the emotion. A contribution is not yet a cause: see ablation.",
    "neuron_tail": "Each line falls from its largest neuron to its smallest; both axes are logarithmic.",
    "frozen_norm": "On the dashed line both say the same. Far from it, a share of the sum is not what the model would lose: "
    "use the contribution.",
    "ablation_projection": "The distance between solid and dotted is the effect of the chosen components.",
    "ablation_label": "Below zero the emotion's own words become less likely. Solid against dotted is the effect.",
    "ablation_specificity": "Rows are ablated, columns measured. Only a blue diagonal speaks for components of one emotion.",
    "steering_success": "Blue should rise well above orange and grey while green stays high. The star is the honest number: "
    "its prompts had no part in choosing the strength.",
    "steering_dose": "Blue should rise with the strength while orange stays at the dashed level of the unsteered model.",
}
"""How to read each figure of `figures.FIGURES`."""
