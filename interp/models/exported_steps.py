"""What files of steering vectors have in common: the step of each layer, ready to be added, and a
card that keeps what a `Direction` knows beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.directions import Direction
from interp.errors import ArtefactError
from interp.sites import STREAM, Site

Step = tuple[Direction, Float[np.ndarray, " d_model"]]
"""A direction, and the vector of `interp.causal.steps.step` that is added along it."""


def steps_by_layer(
    steps: Sequence[Step], layer_of: Callable[[Site], int]
) -> dict[int, tuple[Direction, np.ndarray]]:
    """The steps in float32 by the layer number that `layer_of` gives their sites.

    Raises `ArtefactError` for two directions of one layer, unequal widths, a step that is not
    finite in float32, and as `layer_of`.
    """
    found: dict[int, tuple[Direction, np.ndarray]] = {}
    for direction, step in steps:
        layer = layer_of(direction.site)
        if layer in found:
            raise ArtefactError(
                f"two directions act behind layer {layer}, and the file has one vector per layer: "
                "add their steps up first, or write two files."
            )
        vector = np.asarray(step, dtype=np.float32)
        if not np.isfinite(vector).all():
            raise ArtefactError(f"the step at {direction.site} is not finite in float32.")
        found[layer] = (direction, vector)
    if len({len(vector) for _, vector in found.values()}) > 1:
        raise ArtefactError("the directions differ in width: they are not of one model.")
    return dict(sorted(found.items()))


def block_of(site: Site) -> int:
    """The block, counted from 0, behind whose output a direction at this site is added. Raises
    `ArtefactError` for a site that is not the stream behind a block.
    """
    if site.name != STREAM:
        raise ArtefactError(
            "other tools add a vector to the stream behind a block "
            f"({STREAM}), and the direction is at {site}: fit one there."
        )
    return site.layer


def card_of(direction: Direction) -> dict[str, Any]:
    """What a file keeps of a direction beside its step, as JSON values."""
    return {
        "method": direction.method,
        "labels": list(direction.labels),
        "stream_norm": None if np.isnan(direction.stream_norm) else direction.stream_norm,
        "spread": direction.spread,
        "provenance": dict(direction.provenance),
    }


def from_step(
    layer: int, vector: Float[np.ndarray, " d_model"], card: Any, *, name: str, method: str
) -> Direction:
    """The direction of the step called `name` in its file, with what a card of ours says of it: its
    length is that of the step, so that scale 1 in the unit `length` adds what the file says.

    Without a card it is of no model, and `method` says what kind of file it came from. Raises
    `ArtefactError` for a step without a length and a damaged card.
    """
    length = float(np.linalg.norm(vector))
    if not (np.isfinite(length) and length > 0):
        raise ArtefactError(f"{name} has length {length}: there is nothing to steer by.")
    labels = ("direction", "its opposite")
    made = Direction(vector / length, Site(STREAM, layer), method, labels, length, 0.0)
    if not card:
        return made
    try:
        high, low = card["labels"]
        norm = card["stream_norm"]
        return replace(
            made,
            method=str(card["method"]),
            labels=(str(high), str(low)),
            spread=float(card["spread"]),
            stream_norm=np.nan if norm is None else float(norm),
            provenance=dict(card["provenance"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"the card of {name} is damaged: {error}.") from error
