"""Random components matched to chosen ones: the control of an ablation, which must not contain what
it controls for.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from interp.causal.contributions import KINDS, Component, writes_before
from interp.models import LanguageModel
from interp.sites import Site

TRIES = 20
"""Choices that are tried for each one that is wanted, before there are taken to be no more."""


def matched_draws(
    top: Sequence[Component],
    model: LanguageModel,
    site: Site,
    *,
    n_draws: int,
    rng: np.random.Generator,
) -> tuple[list[tuple[Component, ...]], str]:
    """`n_draws` random choices of as many components in each layer as `top` has there, none of
    `top` among them.

    No two choices are the same set, so that there are fewer where the layers have no more to give:
    a p counts sets, and one that is drawn again is no new one. What a layer cannot give is drawn
    from all layers that write to `site`. Returns the draws and how they match: "layer", or "layers"
    where some come from others. Where all layers together have too few others there is no draw, and
    a warning says so.
    """
    name, chosen, wanted = top[0].name, set(top), Counter(component.layer for component in top)

    def others(layers: Iterable[int]) -> list[Component]:
        every = (Component(name, layer, i) for layer in layers for i in range(width(name, model)))
        return [one for one in every if one not in chosen]

    pools = {layer: others([layer]) for layer in wanted}
    missing = sum(max(0, n - len(pools[layer])) for layer, n in wanted.items())
    writing = {
        layer for layer in range(model.dims.n_layers) if writes_before(Site(name, layer), site)
    }
    spare = others(sorted(writing | set(wanted))) if missing else []
    if n_draws and missing and len(spare) < len(top):
        warnings.warn(
            f"beside the top {len(top)} there are too few others to draw as many at random, "
            "so they stand without control and p. Choose fewer.",
            stacklevel=3,
        )
        return [], ""
    draws: dict[frozenset[Component], tuple[Component, ...]] = {}
    for _ in range(TRIES * n_draws):
        drawn = [one for layer, n in wanted.items() for one in _draw(pools[layer], n, rng)]
        rest = [one for one in spare if one not in set(drawn)]
        draw = (*drawn, *_draw(rest, missing, rng))
        draws.setdefault(frozenset(draw), draw)
        if len(draws) == n_draws:
            break
    return list(draws.values()), "layers" if missing else "layer"


def width(name: str, model: LanguageModel) -> int:
    """How many heads (`z`) or neurons (`post`) a layer has."""
    return model.dims.n_heads if name == KINDS["head"] else model.dims.d_mlp


def _draw(pool: Sequence[Component], n: int, rng: np.random.Generator) -> list[Component]:
    """`n` of the pool, or all of it where it has fewer."""
    return (
        [pool[i] for i in rng.choice(len(pool), size=min(n, len(pool)), replace=False)]
        if pool
        else []
    )
