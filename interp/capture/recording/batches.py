"""Running batches: halved where memory is short, checked for non-finite values, described as
shards.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.capture.packing import longest_first
from interp.capture.plan import Plan
from interp.capture.recording.engine import Engine
from interp.capture.recording.gathering import Gathering, Recorded
from interp.capture.recording.pooling import Pooler
from interp.capture.store.shard import Shard, overflows, text_rows
from interp.errors import DataError, InternalError, ResourceError
from interp.models import LanguageModel
from interp.sites import Site


@dataclass(frozen=True, slots=True)
class Underway:
    """Texts whose forward has run; `arrive` gives their activations, and waits for them where they
    travel from a device.
    """

    places: list[int]
    shape: tuple[int, int]
    arrive: Callable[[], dict[str, np.ndarray]]
    travels: bool


def launch(model: LanguageModel, engine: Engine, plan: Plan, places: list[int]) -> list[Underway]:
    """Run the texts at `places` as one batch, or as halves where that does not fit in memory,
    without waiting for copies.

    Raises `ResourceError` for a text too large alone.
    """
    try:
        return [_run(model, engine, plan, places)]
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(places) == 1:
        text = plan.texts[places[0]]
        raise ResourceError(
            f"text {text.id!r} ({len(text.tokens)} tokens) does not fit in memory, even alone: "
            "shorten it."
        )
    middle = len(places) // 2
    return [
        *launch(model, engine, plan, places[:middle]),
        *launch(model, engine, plan, places[middle:]),
    ]


def finish(model: LanguageModel, engine: Engine, plan: Plan, underway: Underway) -> Recorded:
    """What launched texts gave, checked for values that are no numbers.

    Raises `DataError` for a non-finite activation, unless it is quarantined.
    """
    recorded = _arrived(underway)
    bad = _nonfinite(recorded, plan)
    for place in bad:
        found = _locate(model, engine, plan, place)
        if plan.options.on_nonfinite == "stop":
            raise DataError(
                f"text {found['id']!r}: {found['reason']}. Its activations cannot be used: drop "
                "the text, load the model in float32, or give --on-nonfinite quarantine to leave "
                "out the pair."
            )
        recorded.refused.append(found)
    if bad:
        _blank(recorded, plan, bad)
    return recorded


def _arrived(underway: Underway) -> Recorded:
    return Recorded(underway.places, underway.arrive(), [underway.shape])


def _run(model: LanguageModel, engine: Engine, plan: Plan, places: list[int]) -> Underway:
    batch = model.pad([plan.texts[place].tokens for place in places])
    pooler = Pooler(plan, places, batch, model.device)

    def keep(site: Site) -> Any:
        return lambda tensor: pooler.sink(site, tensor)

    engine.run(batch, {site: keep(site) for site in plan.sites})
    return Underway(places, (len(places), int(batch.ids.shape[1])), *pooler.leave())


def _is_out_of_memory(error: BaseException) -> bool:
    told = str(error).lower()
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "out of memory" in told
        or "can't allocate memory" in told
    )


def _nonfinite(recorded: Recorded, plan: Plan) -> list[int]:
    """Places of texts with a value that is not a number or infinite, in any array."""
    lengths = [len(plan.texts[place].tokens) for place in recorded.places]
    bad: set[int] = set()
    for name, array in recorded.arrays.items():
        if math.isfinite(float(array.sum(dtype=np.float64))):
            continue
        rows = text_rows(name, lengths)
        bad.update(
            place
            for place, where in zip(recorded.places, rows, strict=True)
            if not np.isfinite(array[where]).all()
        )
    return sorted(bad)


def _blank(recorded: Recorded, plan: Plan, bad: Sequence[int]) -> None:
    """Replace the rows of refused texts by NaN everywhere, so that no half of them can be read."""
    lengths = [len(plan.texts[place].tokens) for place in recorded.places]
    for name, array in recorded.arrays.items():
        for place, where in zip(recorded.places, text_rows(name, lengths), strict=True):
            if place in bad:
                array[where] = np.nan


def _locate(model: LanguageModel, engine: Engine, plan: Plan, place: int) -> dict[str, Any]:
    """Run one text alone and name the first site, layer and token with a non-finite value."""
    text = plan.texts[place]
    found: list[tuple[Site, int]] = []

    def look(site: Site) -> Any:
        def sink(tensor: Tensor) -> None:
            axis = 1 + (site.name == "pattern" and site.head is None)
            bad = ~torch.isfinite(tensor.movedim(axis, 1)[0].flatten(1)).all(dim=1)
            if not found and bool(bad.any()):
                found.append((site, int(bad.nonzero()[0, 0])))

        return sink

    engine.run(model.pad([text.tokens]), {site: look(site) for site in plan.sites})
    row: dict[str, Any] = {"id": text.id, "twin": text.twin, "site": "", "layer": -1, "token": -1}
    if not found:
        return {**row, "reason": "its activations are not finite in its batch, and finite alone"}
    site, token = found[0]
    reason = (
        f"non-finite activation at {site} (layer {site.layer}), first at token {token} "
        f"({model.decode([text.tokens[token]])!r})"
    )
    return {**row, "site": str(site), "layer": site.layer, "token": token, "reason": reason}


def summarise(shard: Shard, plan: Plan) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """(Largest magnitude, mean norm of rows) of each array over its finite rows, and warnings about
    them.
    """
    statistics: dict[str, tuple[float, float]] = {}
    warned: list[str] = []
    for name, array in shard.arrays.items():
        rows = array.reshape(len(array), -1)
        rows = (
            rows
            if math.isfinite(float(rows.sum(dtype=np.float64)))
            else rows[np.isfinite(rows).all(axis=1)]
        )
        most = max(float(rows.max()), -float(rows.min())) if rows.size else 0.0
        norms = (
            np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
            if rows.size
            else np.zeros(1)
        )
        statistics[name] = (most, float(norms.mean()))
        if plan.options.storage == "float16" and overflows(array):
            warned.append(
                f"{name} reaches {most:.3g}, beyond float16: this shard keeps it as float32"
            )
        if rows.size and most == 0.0:
            warned.append(
                f"{name} is zero for every text of this shard: the model computes nothing there"
            )
    return statistics, warned


def check_alone(model: LanguageModel, engine: Engine, plan: Plan, *, bound: float) -> float:
    """Largest relative difference of the shortest text alone and beside the longest one;
    `InternalError` above `bound`.

    Raises `DataError` when a kind of site is zero in every layer asked for: its hook does not fire,
    or nothing is there.
    """
    order = longest_first([text.tokens for text in plan.texts], [text.id for text in plan.texts])
    short, long = order[-1], order[0]
    alone = _unchecked(model, engine, plan, [short])
    _refuse_zero(alone, plan)
    if short == long:
        return 0.0
    beside = _unchecked(model, engine, plan, [long, short])
    worst = 0.0
    for name, array in alone.arrays.items():
        where = text_rows(name, beside.lengths.tolist())[1]
        scale = max(float(np.abs(array).max()), 1e-30)
        worst = max(worst, float(np.abs(beside.arrays[name][where] - array).max()) / scale)
    if worst > bound:
        raise InternalError(
            f"batch self-check failed: {worst:.1e} > {bound:.0e} between a text alone and in a "
            "batch: a padding bug."
        )
    return worst


def _unchecked(model: LanguageModel, engine: Engine, plan: Plan, places: list[int]) -> Shard:
    """The activations of the texts at `places` as one batch, whatever their values."""
    gathering = Gathering(plan, places)
    for underway in launch(model, engine, plan, places):
        gathering.add(_arrived(underway))
    return gathering.shard()


def _refuse_zero(shard: Shard, plan: Plan) -> None:
    for name in dict.fromkeys(site.name for site in plan.sites):
        hooks = {str(site) for site in plan.sites if site.name == name}
        if not any(
            array.any() for key, array in shard.arrays.items() if key.rpartition("/")[0] in hooks
        ):
            raise DataError(
                f"{name} is zero in every layer asked for ({len(hooks)}) on the first text "
                "tried: the model computes nothing there, or its hook does not fire. Leave the "
                "site out; `interp doctor` says which sites can be trusted."
            )
