"""The step that steering adds: along which direction, how long, in which unit, and whether it may
be added at all.

A unit of strength is what a scale of 1 adds, by name (`UNITS`): `length` is the natural length, as
far as held-out texts differ along the direction; `stream` is the length of the stream itself, the
root mean square of its norm over the texts that the direction was fitted on; `dose` is `DOSE` of
that.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.edits import add
from interp.causal.forward import Encoded, run_forward
from interp.causal.interventions import Intervention, Where
from interp.causal.origins import named_origin, same_origin
from interp.directions import Direction
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.sites import RESIDUAL_WIDE, Site

DOSE = 0.3
"""The strength that the unit `dose` stands for, as a share of the stream's norm. Of 0.1 to 0.6
at layers 14 to 24 of SmolLM2's 30, 0.3 and 0.4 moved it most; 0.3 costs less, and 64 texts a place
cannot tell the two apart.
"""

UNITS = ("dose", "stream", "length")

Weighted = tuple[Direction, float]
"""A direction of a mixture, and how many times its step is added."""

HUGE = 20.0
"""A vector longer than this many times the stream itself is warned of: the text is then the
vector's, not the model's.
"""


class Strength(NamedTuple):
    """How much is added: a scale for all prompts or one each, counted in a unit of `UNITS`."""

    scale: float | int | Sequence[float] = 1.0
    unit: str = "length"


def step(direction: Direction, unit: str) -> Float[np.ndarray, " d_model"]:
    """What a scale of 1 adds. Raises `UsageError` for an unknown unit, and where the direction does
    not know how long the stream is.
    """
    if unit not in UNITS:
        raise UsageError(f"unknown unit of strength {unit!r}: choose one of {', '.join(UNITS)}.")
    if unit == "length":
        return direction.step
    norm = direction.stream_norm
    if math.isnan(norm):
        raise UsageError(
            f"the direction at {direction.site} does not say how long the stream is, as those of "
            f"before do not: fit it again, or give its strength in the unit 'length'."
        )
    return direction.vector * norm * (DOSE if unit == "dose" else 1.0)


def pushes(
    model: LanguageModel,
    rows: Sequence[Encoded],
    mixture: Sequence[Weighted],
    strength: Strength,
    *,
    where: Where,
    allow_foreign: bool = False,
) -> list[Intervention]:
    """The interventions that add each direction's step, times its weight, times the row's scale.

    A row whose scale is 0 stays bit for bit what it was. Raises as `check_direction` and `step`,
    and `UsageError` for a scale or a weight that is not finite. Warns of a step that is more than
    20 times as long as the stream.
    """
    scale = _one_a_prompt(strength.scale, len(rows))
    found = []
    for direction, weight in mixture:
        check_direction(model, direction, allow_foreign=allow_foreign)
        if not math.isfinite(weight):
            raise UsageError(f"the weight of a direction is {weight}: give a finite number.")
        added = weight * step(direction, strength.unit)
        longest = float(np.abs(scale).max() * np.linalg.norm(added))
        warn_if_huge(model, rows, direction.site, longest)
        found.append(Intervention(direction.site, add(added, scale=scale), where))
    return found


def check_direction(
    model: LanguageModel, direction: Direction, *, allow_foreign: bool = False
) -> None:
    """Raise `ArtefactError` unless `direction` can be added to this model's stream: its width,
    length, and origin.

    Its origin is the `digest` of its provenance, or where it has none its `model` and `revision`;
    one that does not say where it is from is foreign. Raises `UsageError` when its site is not in
    the residual stream, or an edit there does not act.
    """
    if direction.site.name not in RESIDUAL_WIDE:
        raise UsageError(
            f"the direction was fitted at {direction.site}, not in the residual stream: it "
            "cannot be added there."
        )
    made_for, here = named_origin(direction.provenance), named_origin(model.provenance)
    width = len(direction.vector)
    if width != model.dims.d_model:
        raise ArtefactError(
            f"the direction is {width} wide, made for {made_for}, and {here} is "
            f"{model.dims.d_model} wide: fit one on it."
        )
    length = float(np.linalg.norm(direction.vector)) * direction.length
    if not (math.isfinite(length) and length > 0):
        raise ArtefactError(
            f"the direction at {direction.site} has length {length:.3g}, measured on held-out "
            "scenarios: there is no step to steer by. Fit it again, on finite activations that "
            "differ, on more scenarios or at another layer."
        )
    for doubt in direction.provenance.get("warnings", ()):
        warnings.warn(
            f"steering along a direction in doubt, at {direction.site}: {doubt}", stacklevel=4
        )
    if not (allow_foreign or same_origin(direction.provenance, model.provenance)):
        raise ArtefactError(
            f"the direction was made for {made_for} and this is {here}: the coordinates of two "
            "models do not correspond, even at equal width. Fit it on this model, or pass "
            "`allow_foreign=True`."
        )
    require(model, "steering", [direction.site])


def with_length(directions: Mapping[str, Direction]) -> dict[str, Direction]:
    """Those directions that have a length, by emotion; a warning names the others, which nothing
    can be steered along.

    Raises `StatisticsError` when none has.
    """
    left = {emotion: direction for emotion, direction in directions.items() if direction.length > 0}
    lost = ", ".join(
        f"{emotion} ({directions[emotion].length:.3g})"
        for emotion in directions
        if emotion not in left
    )
    if not left:
        raise StatisticsError(
            "no direction has a held-out length above zero, so there is no step to steer by: "
            f"{lost or 'none given'}."
        )
    if lost:
        warnings.warn(
            f"steering leaves out {lost}: no held-out length above zero, so no step to steer by.",
            stacklevel=3,
        )
    return left


def warn_if_huge(model: LanguageModel, rows: Sequence[Encoded], site: Site, added: float) -> None:
    """Warn when the largest vector added exceeds 20 times the mean norm of the site at the (first
    16) texts' last tokens.
    """
    rows = rows[:16]
    stream = run_forward(model, rows, read=[site]).at(site, [row.end for row in rows])
    norm = float(stream.float().norm(dim=-1).mean())
    if added > HUGE * norm:
        warnings.warn(
            f"steering adds a vector of length {added:.3g} to {site}, "
            f"{added / norm:.0f} times the stream's own {norm:.3g}: the text will be the "
            "vector's and not the model's.",
            stacklevel=3,
        )


def random_like(
    vectors: Float[np.ndarray, "row d_model"], rng: np.random.Generator
) -> Float[np.ndarray, "row d_model"]:
    """Random directions, each as long as its row."""
    noise = rng.standard_normal(vectors.shape)
    return (
        noise
        * np.linalg.norm(vectors, axis=1, keepdims=True)
        / np.linalg.norm(noise, axis=1, keepdims=True)
    )


def _one_a_prompt(scale: float | int | Sequence[float], n: int) -> Float[np.ndarray, " row"]:
    given = np.asarray(scale, dtype=float)
    if not n or given.shape not in ((), (n,)):
        raise UsageError(
            f"{n} prompts and {given.size} scales: give at least one prompt, and one scale for "
            "all or one each."
        )
    if not np.isfinite(given).all():
        raise UsageError(f"the scale is {scale}: give a finite number; 0 leaves the text as it is.")
    return np.broadcast_to(given, (n,)).copy()
