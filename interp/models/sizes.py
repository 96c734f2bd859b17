"""A model's sizes, and what they make of its sites: the shapes, layers and uses that `interp sites
MODEL` prints.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from interp.sites import RESIDUAL_WIDE, SITE_NAMES, Site

_CONTRIBUTING = ("z", "post")
"""Sites whose parts (heads, neurons) write to the residual stream by a matrix of their own."""


@dataclass(frozen=True, slots=True)
class Dims:
    """The model's sizes. `n_key_value_heads` equals `n_heads` unless queries share keys; `d_vocab`
    counts embedding rows.
    """

    n_layers: int
    d_model: int
    n_heads: int
    n_key_value_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int


def site_shape(dims: Dims, name: str) -> tuple[str, ...]:
    """Axes of the site `name`, with numbers where the model fixes them: ("batch", "pos", "64")."""
    heads = dims.n_key_value_heads if name in ("k", "v") else dims.n_heads
    sizes = {"d_model": dims.d_model, "d_mlp": dims.d_mlp, "d_head": dims.d_head, "head": heads}
    return tuple(str(sizes.get(axis, axis)) for axis in Site(name, 0).axes)


def sublayer_hooks(bridge: Any) -> frozenset[str]:
    """Names of neuron sites that are the input or the output of a whole MLP: no neurons pass there.

    So it is where the bridge does not take the MLP apart, as with a mixture of experts.
    """
    found = set()
    for layer, block in enumerate(bridge.blocks):
        mlp = getattr(block, "mlp", None)
        ends = [getattr(mlp, name, None) for name in ("hook_in", "hook_out")]
        for hook in (Site("pre", layer).hook, Site("post", layer).hook):
            point = bridge.hook_dict.get(hook)
            if point is not None and any(point is end for end in ends):
                found.add(hook)
    return frozenset(found)


def site_rows(
    dims: Dims, offers: Callable[[Site], bool], *, read_only: Collection[str]
) -> list[dict[str, Any]]:
    """A row per kind of site: site, hook (L stands for the layer), layers, shape, accepted_by."""
    rows = []
    for name in SITE_NAMES:
        layers = [layer for layer in range(dims.n_layers) if offers(Site(name, layer))]
        if not layers:
            continue
        hook = Site(name, layers[0]).hook.replace(f".{layers[0]}.", ".L.", 1)
        accepted = _accepted_by(name)
        if name in read_only:
            accepted = f"{accepted.replace(', patch', '').replace(', steer', '')} (read-only here)"
        shape = f"[{', '.join(site_shape(dims, name))}]"
        rows.append(
            {
                "site": name,
                "hook": hook,
                "layers": _ranges(layers),
                "shape": shape,
                "accepted_by": accepted,
            }
        )
    return rows


def _ranges(layers: Sequence[int]) -> str:
    whole = list(range(layers[0], layers[-1] + 1)) == list(layers)
    return f"{layers[0]}-{layers[-1]}" if whole else ",".join(map(str, layers))


def _accepted_by(name: str) -> str:
    if name in RESIDUAL_WIDE:
        return "capture, probe, directions, patch, steer"
    return "capture, patch, ablate, contributions" if name in _CONTRIBUTING else "capture, patch"
