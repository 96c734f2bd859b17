"""Random components matched to chosen ones: the control of an ablation, which must not contain what it controls for."""

import warnings
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from interp.causal.attribution import KINDS, Component, writes_before
from interp.models import LanguageModel
from interp.sites import Site


def matched_draws(
    top: Sequence[Component], model: LanguageModel, site: Site, *, n_draws: int, rng: np.random.Generator
) -> tuple[list[tuple[Component, ...]], str]:
    """`n_draws` random choices of as many components in each layer as `top` has there, none of `top` among them.

    What a layer cannot give is drawn from all layers that write to `site`. Returns the draws and how
    they match: "layer", or "layers" where some come from others. Where all layers together have too
    few others there is no draw, and a warning says so.
    """
    name, n_units = top[0].name, width(top[0].name, model)
    writing = {layer for layer in range(model.dims.n_layers) if writes_before(Site(name, layer), site)}
    wanted = Counter(component.layer for component in top)
    others = {one: {Component(name, one, i) for i in range(n_units)} - set(top) for one in writing | set(wanted)}
    if n_draws and sum(map(len, others.values())) < len(top):
        warnings.warn(
            f"ablation: beside the top {len(top)} there are too few others to draw as many at random, so they stand without "
            "control and p. Choose fewer.",
            stacklevel=3,
        )
        return [], ""
    missing = sum(max(0, n - len(others[layer])) for layer, n in wanted.items())
    draws = []
    for _ in range(n_draws):
        drawn = [one for layer, n in wanted.items() for one in _draw(others[layer], min(n, len(others[layer])), rng)]
        rest = set().union(*others.values()) - set(drawn)
        draws.append((*drawn, *_draw(rest, missing, rng)))
    return draws, "layers" if missing else "layer"


def width(name: str, model: LanguageModel) -> int:
    """How many heads (`z`) or neurons (`post`) a layer has."""
    return model.dims.n_heads if name == KINDS["head"] else model.dims.d_mlp


def _draw(pool: Collection[Component], n: int, rng: np.random.Generator) -> list[Component]:
    ordered = sorted(pool) if n else []
    return [ordered[i] for i in rng.choice(len(ordered), size=n, replace=False)] if n else []
