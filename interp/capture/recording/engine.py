"""Engines: how a batch runs through a model while chosen sites are seen.

`PlainEngine` is the fast one. `BridgeEngine` runs TransformerBridge with its own hooks; it serves
attention patterns, and models whose plain form does not give the bridge's values: `choose_engine`
compares the two before either is used.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture.recording.plain_engine import PlainEngine, Sink
from interp.errors import InternalError
from interp.models import Batch, LanguageModel
from interp.sites import Site

_CHECK_TOKENS = 12


@runtime_checkable
class Engine(Protocol):
    """Something that runs a batch and hands each site's tensor, with axes `site.axes`, to its
    sink.
    """

    name: str

    def run(self, batch: Batch, sinks: Mapping[Site, Sink]) -> None:
        """Run one batch; every sink is called exactly once, in the order in which the model
        computes.
        """


class BridgeEngine:
    """TransformerBridge with its own hooks: eager attention, every site TransformerLens has."""

    name = "bridge"

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def run(self, batch: Batch, sinks: Mapping[Site, Sink]) -> None:
        """Run one batch, padded on either side; every sink is called exactly once."""
        wanted = dict(sinks)
        hooks = [
            (hook, _reader([site for site in sinks if site.hook == hook], wanted))
            for hook in {site.hook for site in sinks}
        ]
        self.model.forward(batch, hooks=hooks, stop_at_layer=max(site.layer for site in sinks) + 1)
        if wanted:
            raise InternalError(
                f"{len(wanted)} of {len(sinks)} sites never ran: "
                f"{', '.join(map(str, list(wanted)[:5]))}."
            )


def _reader(sites: Sequence[Site], wanted: dict[Site, Sink]) -> Callable[..., None]:
    """A hook for the sites of one hook name: all heads, or some."""

    def read(tensor: Tensor, hook: Any = None) -> None:
        for site in sites:
            axis = 1 if site.name == "pattern" else 2
            wanted.pop(site)(tensor if site.head is None else tensor.select(axis, site.head))

    return read


def choose_engine(
    model: LanguageModel, sites: Sequence[Site], *, attention: str = "fast"
) -> tuple[Engine, str]:
    """The engine for these sites, and why: plain where it gives the bridge's values at every site,
    the bridge otherwise.

    The comparison is made on two short texts in one batch, relative to each site's largest
    magnitude. A model that is spread over devices, or quantised, runs on the bridge: plain modules
    around its weights would lack what moves or unpacks them.
    """
    bridge = BridgeEngine(model)
    if model.spread:
        return (
            bridge,
            "the model is spread over several devices, and only its own modules know where each "
            "part lies",
        )
    if model.quantised:
        return (
            bridge,
            "the model is quantised, and only its own modules know how to unpack its matrices",
        )
    if attention == "eager" or any(site.name == "pattern" for site in sites):
        return bridge, "attention patterns or eager attention were asked for"
    try:
        plain = PlainEngine(model, sites)
        error = largest_difference(model, plain, bridge, sites)
    except (InternalError, AttributeError, KeyError, TypeError, RuntimeError, ValueError) as reason:
        return bridge, f"the plain modules do not offer these sites ({reason})"
    bound = tolerance(model.precision)
    if not error <= bound:
        return bridge, f"the plain modules differ from the bridge by {error:.1e} > {bound:.0e}"
    return plain, f"the plain modules give the bridge's values within {bound:.0e}"


def tolerance(dtype: torch.dtype) -> float:
    """Largest relative difference that batching and kernels may cause in a precision (float8: a
    quantised model's).
    """
    return {
        torch.float64: 1e-10,
        torch.float32: 2e-5,
        torch.float16: 4e-3,
        torch.float8_e4m3fn: 1e-1,
    }.get(dtype, 3e-2)


def largest_difference(
    model: LanguageModel, one: Engine, other: Engine, sites: Sequence[Site]
) -> float:
    """Largest difference of two engines over sites on a fixed batch, relative to the site's largest
    magnitude.
    """
    n = max(2, min(_CHECK_TOKENS, model.dims.n_ctx))
    ids = [(7 * place + 3) % model.dims.d_vocab for place in range(n)]
    batch = model.pad([ids, ids[: n // 2]])
    first, second = (_tensors(engine, batch, sites) for engine in (one, other))
    worst = 0.0
    for site in sites:
        for row, length in enumerate(batch.lengths):
            a, b = first[site][row, :length].float(), second[site][row, :length].float()
            worst = max(worst, float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)))
    return worst


def _tensors(
    engine: Engine, batch: Batch, sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "batch pos *rest"]]:
    found: dict[Site, Tensor] = {}

    def keep(site: Site) -> Sink:
        return lambda tensor: found.__setitem__(site, tensor.clone())

    engine.run(batch, {site: keep(site) for site in sites})
    return found
