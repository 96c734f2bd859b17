"""estimate: what a capture would be, in texts, tokens, bytes, shards and time, from its plan alone;
and `measured_capture`: its time, from batches that are really run.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from interp.capture.options import Options
from interp.capture.plan import make_plan, texts_bytes
from interp.capture.recording.batches import finish, launch
from interp.capture.recording.recorder import Recorder
from interp.models import LanguageModel
from interp.sites import Site
from stimuli.battery import Battery

_SIDE = 2048
_ROUNDS = 3

ARITHMETIC = ("teraflops", "seconds")
"""What `estimate_capture` reckons; the rest of it is counted."""


def estimate_capture(
    model: LanguageModel,
    battery: Battery,
    *,
    sites: Sequence[str | Site],
    positions: Sequence[str],
    teraflops: float | None = None,
    options: Options | None = None,
) -> dict[str, Any]:
    """The capture's plan in numbers; `model` may be an outline, without weights.

    `bytes` are those of the arrays as stored (an index of up to a MiB per shard comes on top),
    `weights_bytes` those of the model in its dtype (a quantised checkpoint is smaller), `padding`
    the share of tokens computed that are padding. `seconds` is two operations per weight and token
    computed, in the blocks up to the last wanted layer, at `teraflops` (10^12 operations per
    second; without it, what a matrix product reaches on this machine's CPU just now). Attention's
    own products and the writing are not in it. Raises as planning a capture does.
    """
    plan = make_plan(model, battery, sites=sites, positions=positions, options=options or Options())
    lengths = plan.lengths
    computed = sum(len(batch) * lengths[batch[0]] for batch in plan.batches)
    held = sum(texts_bytes(lengths, plan.sites, plan.positions, model.dims))
    share = (max(site.layer for site in plan.sites) + 1) / model.dims.n_layers
    all_weights, block_weights = _count_weights(model)
    speed = teraflops if teraflops is not None else measure_teraflops(model.dtype)
    return {
        "rows": len(plan.texts),
        "tokens": sum(lengths),
        "padding": 1 - sum(lengths) / max(computed, 1),
        "batches": len(plan.batches),
        "shards": len(plan.shards),
        "bytes": held // 2 if plan.options.storage == "float16" else held,
        "weights_bytes": all_weights * model.dtype.itemsize,
        "teraflops": speed,
        "seconds": 2 * block_weights * share * computed / (speed * 1e12),
    }


def measure_teraflops(dtype: torch.dtype) -> float:
    """10^12 operations per second that a matrix product of `dtype` reaches on this machine's CPU
    (the best of a few).
    """
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    taken = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        matrix @ matrix
        taken.append(time.perf_counter() - start)
    return 2 * _SIDE**3 / min(taken) / 1e12


def _count_weights(model: LanguageModel) -> tuple[int, int]:
    """Weights of the whole model, and of its blocks alone: embedding and unembedding are looked up
    or never computed.
    """
    wrapped: Any = model.bridge.original_model
    with torch.device("meta"):
        plain = type(wrapped)(type(wrapped.config).from_dict(wrapped.config.to_dict()))
    whole = sum(weight.numel() for weight in plain.parameters())
    ends = {
        id(end.weight): end.weight.numel()
        for end in (plain.get_input_embeddings(), plain.get_output_embeddings())
        if end
    }
    return whole, whole - sum(ends.values())


def measured_capture(
    model: LanguageModel,
    battery: Battery,
    *,
    sites: Sequence[str | Site],
    positions: Sequence[str],
    options: Options | None = None,
) -> tuple[int, float]:
    """The batches of a capture, and their seconds on this machine: the smallest and the largest one
    are run, and nothing of them is kept. Writing is not in it. Raises as a capture does.
    """
    plan = make_plan(model, battery, sites=sites, positions=positions, options=options or Options())
    engine = Recorder(model, plan).engine

    def run(number: int) -> float:
        start = time.perf_counter()
        for underway in launch(model, engine, plan, list(plan.batches[number])):
            finish(model, engine, plan, underway)
        return time.perf_counter() - start

    work = [len(batch) * plan.lengths[batch[0]] for batch in plan.batches]
    return len(plan.batches), seconds_by_work(work, run)


def seconds_by_work(work: Sequence[int], run: Callable[[int], float]) -> float:
    """Seconds of jobs of so much `work` each, where `run` gives the seconds of the job that it is
    told the number of: it is asked for the smallest and the largest, and the others lie on the line
    between. The first run is not counted: it warms caches.
    """
    if not work:
        return 0.0
    least, most = min(work), max(work)
    run(work.index(least))
    low = run(work.index(least))
    if least == most:
        return low * len(work)
    high = max(run(work.index(most)), low)
    slope = (high - low) / (most - least)
    return sum(low + slope * (one - least) for one in work)
