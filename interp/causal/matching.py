"""Random components matched to chosen ones: the control of an ablation, which must not contain what
it controls for.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

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
    name, wide, wanted = top[0].name, width(top[0].name, model), Counter(one.layer for one in top)
    # A component is the number layer * wide + index: a layer may have tens of thousands.
    chosen = [one.layer * wide + one.index for one in top]

    def others(layers: Iterable[int]) -> Int[np.ndarray, " other"]:
        every = [np.arange(layer * wide, (layer + 1) * wide) for layer in layers]
        return np.setdiff1d(np.concatenate(every), chosen)

    pools = {layer: others([layer]) for layer in wanted}
    missing = sum(max(0, n - len(pools[layer])) for layer, n in wanted.items())
    writing = {
        layer for layer in range(model.dims.n_layers) if writes_before(Site(name, layer), site)
    }
    spare = others(writing | set(wanted)) if missing else np.array([], dtype=np.int64)
    if n_draws and missing and len(spare) < len(top):
        warnings.warn(
            f"beside the top {len(top)} there are too few others to draw as many at random, "
            "so they stand without control and p. Choose fewer.",
            stacklevel=3,
        )
        return [], ""
    draws: dict[frozenset[int], list[int]] = {}
    for _ in range(TRIES * n_draws):
        drawn = [one for layer, n in wanted.items() for one in _draw(pools[layer], n, rng)]
        draw = [*drawn, *_draw(np.setdiff1d(spare, drawn), missing, rng)]
        draws.setdefault(frozenset(draw), draw)
        if len(draws) == n_draws:
            break
    found = [tuple(Component(name, *divmod(one, wide)) for one in draw) for draw in draws.values()]
    return found, "layers" if missing else "layer"


def width(name: str, model: LanguageModel) -> int:
    """How many heads (`z`) or neurons (`post`) a layer has; a whole sublayer is one."""
    sizes = {KINDS["head"]: model.dims.n_heads, KINDS["neuron"]: model.dims.d_mlp}
    return sizes.get(name, 1)


def _draw(pool: Int[np.ndarray, " other"], n: int, rng: np.random.Generator) -> list[int]:
    """`n` of the pool, or all of it where it has fewer."""
    return rng.choice(pool, size=min(n, len(pool)), replace=False).tolist() if len(pool) else []
