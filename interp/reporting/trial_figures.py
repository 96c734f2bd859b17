"""Figures of what is asked beside a study (`interp framings`, `interp dissect`, ...): which table
each is drawn from. They lie in the folder of their command; no report shows them.
"""

from collections.abc import Iterator, Mapping

import pandas as pd

from interp.reporting.dissection import (
    ablated_parts,
    attention_map,
    direction_ablation_dots,
    enhanced_parts,
    knockout_map,
    lens_curves,
)
from interp.reporting.elicited import elicited_curves
from interp.reporting.framings import (
    framing_axes,
    framing_cosines,
    framing_norms,
    framing_scan,
    framing_scores,
    stress_doses,
)
from interp.reporting.introspection import introspection_controls, introspection_map
from interp.reporting.malleability import malleability_map
from interp.reporting.paths import path_map
from interp.reporting.released import release_curve
from interp.reporting.sae_features import feature_selectivity
from interp.reporting.section import DrawFigure, Drawing
from interp.reporting.state_dynamics import adverse_stretch, state_trajectories
from interp.reporting.steerability import steering_map, steering_slopes
from interp.reporting.steering_pareto import steering_pareto
from interp.reporting.stories import (
    circumplex_map,
    circumplex_ratings,
    detection_by_emotion,
    detection_curves,
    writer_matrix,
)
from interp.reporting.trajectories import turning_controls, turning_curves
from interp.reporting.zero_shot import zero_shot_scores

_ALWAYS: Mapping[str, tuple[DrawFigure, ...]] = {
    "attention": (attention_map,),
    "direction_ablation": (direction_ablation_dots,),
    "dynamics": (state_trajectories, adverse_stretch),
    "elicited": (elicited_curves,),
    "framings": (framing_scores, stress_doses, framing_norms, framing_cosines),
    "introspection": (introspection_controls, introspection_map),
    "knockout": (knockout_map,),
    "lens": (lens_curves,),
    "malleability": (malleability_map,),
    "parts": (ablated_parts, enhanced_parts),
    "paths": (path_map,),
    "release": (release_curve,),
    "sae_features": (feature_selectivity,),
    "steering_scores": (steering_pareto, steering_map, steering_slopes),
    "trajectories": (turning_curves, turning_controls),
    "zero_shot": (zero_shot_scores,),
}
"""Table -> the figures that its rows are always enough for."""

_OF_METRICS: Mapping[str, Mapping[DrawFigure, str]] = {
    "framings": {framing_scan: "scan", framing_axes: "axis"},
    "stories": {
        detection_curves: "auroc",
        detection_by_emotion: "outranked",
        writer_matrix: "writer_auroc",
        circumplex_map: "axis_place",
        circumplex_ratings: "axis_rating",
    },
}
"""Table -> figures, each with the metric without whose rows it is not drawn."""


def _drawings() -> Iterator[Drawing]:
    for table, draws in _ALWAYS.items():
        yield from (Drawing(draw, table=table) for draw in draws)
    for table, found in _OF_METRICS.items():
        yield from (
            Drawing(draw, table=table, needs={"metric": one}) for draw, one in found.items()
        )


TRIAL_FIGURES: dict[str, Drawing] = {drawing.name: drawing for drawing in _drawings()}
"""Every figure of a command beside a study, by its name."""


def figures_of(tables: Mapping[str, pd.DataFrame]) -> dict[str, Drawing]:
    """Those of the tables that a folder has."""
    return {name: one for name, one in TRIAL_FIGURES.items() if one.table in tables}
