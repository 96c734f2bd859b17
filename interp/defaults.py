"""What is used where nothing is said. Each of these words and numbers is written here only."""

PROBE = "logistic"
"""A key of `interp.analysis.probes.PROBES`."""

GRADED_PROBE = "ridge"
"""A key of `interp.analysis.graded.GRADED`."""

DIRECTION = "paired"
"""A key of `interp.analysis.methods.DIRECTIONS`."""

STAND_IN = "resample"
"""A key of `interp.causal.stand_ins.STAND_INS`."""

ENHANCE_BY = "twin"
"""A key of `interp.causal.ablation.WAYS_UP`."""

FACTOR = 2.0
"""By how much parts are multiplied that are enhanced by `scale`."""

CORES = "cores"
"""Who computes probes: an executor of `interp.analysis.spread.spread_by`."""

ATTRIBUTE_WITH = "attribution"
"""A key of `interp.causal.estimates.ESTIMATES`."""

PATH_STEPS = 5
"""Steps of the path of integrated gradients."""

PATCH_MODES = ("denoise", "noise")
"""Which ways are patched (`interp.causal.patches.MODES`)."""

PATCH_POSITIONS = ("last", "edit")
"""Which tokens are patched (`interp.causal.patches.NAMED_PLACES`)."""

PATCH_CONTROLS = ("random_source",)
"""What stands beside a patch (`interp.causal.patches.CONTROLS`)."""

PATCH_METRICS = ("kl",)
"""What is told of a patch beside the logit difference (`interp.causal.patches.MEASURES`)."""

SENTENCE_ARM = "keyword_rich"
"""The arm whose texts give the directions along which a sentence is steered."""

RECOMPUTED = 0.01
"""The share of a capture's texts that are computed again where it is verified."""

CALIBRATIONS = 400
"""Data sets of each check of `interp calibrate`."""
