"""Directions that a test gives instead of fitting them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from interp.directions import Direction
from interp.models import LanguageModel
from interp.sites import Site


def given(
    vector: np.ndarray,
    site: Site,
    length: float = 1.0,
    provenance: Mapping[str, Any] | None = None,
    *,
    length_interval: tuple[float, float] = (np.nan, np.nan),
) -> Direction:
    """The direction of this unit vector, from neutral to joy."""
    labels = ("joy", "neutral")
    return Direction(vector, site, "given", labels, length, 0.0, provenance or {}, length_interval)


def first_axis(model: LanguageModel) -> Direction:
    """The first axis of the stream behind layer 1, said to be of this model."""
    return given(np.eye(model.dims.d_model)[0], Site("resid_post", 1), provenance=model.provenance)
