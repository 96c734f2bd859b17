"""Checks of a model's sites: does what passes there do what the site's name says?

Each is measured for chosen sites, on the layers that are asked for, in the precision that is run.

1. shapes: a tensor of the announced shape passes there.
2. residual identity: resid_pre + attn_out + mlp_out == resid_post, in that block.
3. head sum: z @ W_O, summed over heads, plus b_O, through the post-norm, is attn_out.
4. neuron sum: post @ W_out + b_out, through the post-norm, is mlp_out.
5. edits act: noise at the site changes the logits, and what is put into the stream is what the
   sites behind it hold: the residual identity holds of the values after the edit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from interp.errors import InternalError
from interp.models.checks.probe import (
    SAME,
    Gap,
    Seen,
    exact_bound,
    gap,
    offered,
    probe_tokens,
    record_sites,
)
from interp.models.editable import Hook, edit_hooks
from interp.models.language_model import LanguageModel
from interp.models.sizes import site_shape
from interp.sites import RESIDUAL_WIDE, Site

Found = dict[Site, Gap]


class SiteCheck(NamedTuple):
    """How a check is measured, and what its failure at a site means."""

    measure: Callable[[LanguageModel, Sequence[Site]], Found]
    means: str


def measure_shapes(model: LanguageModel, sites: Sequence[Site]) -> Found:
    """Infinite where nothing passes, or a tensor of another shape than announced."""
    seen = passing_probe(model, sites)
    pos = len(probe_tokens(model)[0])
    sizes = {"batch": 1, "pos": pos, "query_pos": pos, "key_pos": pos}
    found = {}
    for site in sites:
        axes = site_shape(model.dims, site.name)
        expected = tuple(sizes[axis] if axis in sizes else int(axis) for axis in axes)
        shape = tuple(seen[site].shape) if site in seen else None
        told = "nothing" if shape is None else f"the shape {shape}"
        right = shape == expected
        found[site] = SAME if right else Gap(float("inf"), told, f"the shape {expected}")
    return found


def measure_identity(model: LanguageModel, sites: Sequence[Site]) -> Found:
    """How far the stream after a site's block is from what the block adds to the stream before."""
    layers = sorted({site.layer for site in sites})
    names = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    seen = passing_probe(model, [Site(name, layer) for layer in layers for name in names])
    found = {layer: _sum_of(seen, layer, names[:-1]) for layer in layers}
    return {site: found[site.layer] for site in sites}


def measure_sums(model: LanguageModel, sites: Sequence[Site]) -> Found:
    """How far the parts at `z` and `post` sites are from adding up to what their sublayer adds."""
    seen = passing_probe(model, [*sites, *(Site(_WHOLE[site.name], site.layer) for site in sites)])
    return {site: _sum_gap(model, seen, site) for site in sites}


_WHOLE = {"z": "attn_out", "post": "mlp_out"}
_SUBLAYER: dict[str, Literal["attn", "mlp"]] = {"z": "attn", "post": "mlp"}


def measure_edits(model: LanguageModel, sites: Sequence[Site]) -> Found:
    """What noise at a site does. Infinite where the logits stay; at sites of the stream, how far
    the stream behind is from holding it.

    One batch holds the shortest row once per site, and each site is disturbed in its own row alone.
    """
    tried = [site for site in sites if site.name not in model.read_only]
    seen = passing_probe(model, tried)
    silent = {site: Gap(float("inf"), "nothing", "a tensor") for site in tried if site not in seen}
    tried = [site for site in tried if site in seen]
    # In a quantised model a row may depend on what else is in its batch.
    together = 1 if model.quantised else max(len(tried), 1)
    draw = torch.Generator().manual_seed(1)
    found: Found = {**dict.fromkeys(sites, SAME), **silent}
    for first in range(0, len(tried), together):
        found |= _disturb(model, tried[first : first + together], seen, draw)
    return found


SITE_CHECKS: Mapping[str, SiteCheck] = {
    "shapes": SiteCheck(measure_shapes, "{found} passes at {site}, and not {expected}"),
    "residual identity": SiteCheck(
        measure_identity,
        "the stream after the block of {site} is not the stream before it and what attention and "
        "MLP are said to add ({found}, and the stream holds {expected})",
    ),
    "head sum": SiteCheck(
        measure_sums,
        "the parts at {site} do not add up to attn_out ({found}, and {expected} is added): this "
        "architecture scales, gates or shares what they write",
    ),
    "neuron sum": SiteCheck(
        measure_sums,
        "the parts at {site} do not add up to mlp_out ({found}, and {expected} is added): this "
        "architecture scales, gates or shares what they write",
    ),
    "edits act": SiteCheck(
        measure_edits,
        "{site} can be edited without effect, or with another than its name says ({found}, not "
        "{expected})",
    ),
}
"""The checks by name; `means` says of a site what a failure is."""


def passing_probe(model: LanguageModel, sites: Sequence[Site]) -> Seen:
    """What passes the sites when the probe's longest row runs alone."""
    there = [site for site in sites if model.offers(site)]
    kept = {} if model.passing is None else model.passing
    missing = [site for site in there if site not in kept]
    if missing:
        kept.update(record_sites(model, model.pad(probe_tokens(model)[:1]), missing)[0])
    return {site: kept[site] for site in there if site in kept}


def _sum_of(seen: Seen, layer: int, names: Sequence[str], *, row: int | None = None) -> Gap:
    """How far the sites `names` of a layer are from adding up to its resid_post."""
    parts = [Site(name, layer) for name in (*names, "resid_post")]
    lost = [str(site) for site in parts if site not in seen]
    if lost:
        return Gap(float("inf"), f"nothing at {lost[0]}", "a tensor")
    at = [seen[site] if row is None else seen[site][row] for site in parts]
    if len({tuple(x.shape) for x in at}) > 1:
        return Gap(float("inf"), "tensors of several shapes", "one shape")
    return gap(torch.stack([x.float() for x in at[:-1]]).sum(0), at[-1])


def _sum_gap(model: LanguageModel, seen: Seen, site: Site) -> Gap:
    """The sum is taken in float32, as contributions are: only what the model rounds may differ."""
    layer, whole = site.layer, Site(_WHOLE[site.name], site.layer)
    if site not in seen or whole not in seen:
        return Gap(float("inf"), "nothing", "a tensor")
    matrix, bias = output_map(model, site)
    parts, matrix = seen[site].float().flatten(2), matrix.float().flatten(0, -2)
    if parts.shape[-1] != len(matrix):
        return Gap(float("inf"), f"{parts.shape[-1]} numbers per token", f"{len(matrix)}")
    total = parts @ matrix + bias.float()
    norm = model.post_norm(layer, _SUBLAYER[site.name])
    with torch.no_grad():
        total = total if norm is None else norm(total.to(model.dtype))
    return gap(total, seen[whole])


def output_map(model: LanguageModel, site: Site) -> tuple[Tensor, Tensor]:
    """The matrix by which heads (at `z`) or neurons (at `post`) write, and the bias beside it."""
    if site.name == "z":
        return model.W_O(site.layer), model.b_O(site.layer)
    return model.W_out(site.layer), model.b_out(site.layer)


def _disturb(
    model: LanguageModel,
    sites: Sequence[Site],
    seen: Seen,
    draw: torch.Generator,
) -> Found:
    """Row i of one batch disturbed at `sites[i]`, held against the same batch undisturbed."""

    def edit(row: int, site: Site) -> list[Hook]:
        def change(tensor: Tensor, hook: Any) -> Tensor:
            noise = torch.randn(tensor.shape[1:], generator=draw).to(tensor)
            changed = tensor.clone()
            changed[row] += noise * spread_of(seen[site]).to(tensor)
            return changed

        return edit_hooks(site, change)

    layers = sorted({site.layer for site in sites})
    behind = [layer + 1 for layer in layers if layer + 1 < model.dims.n_layers]
    near = offered(model, sorted({*layers, *behind}))
    stream = [site for site in near if site.name in RESIDUAL_WIDE]
    batch = model.pad([probe_tokens(model)[-1]] * len(sites))
    _, clean = record_sites(model, batch, [])
    edits = [hook for row, site in enumerate(sites) for hook in edit(row, site)]
    after, moved = record_sites(model, batch, stream, edits=edits)
    found: Found = {}
    for row, site in enumerate(sites):
        stays = gap(moved[row], clean[row]).error == 0
        still = Gap(float("inf"), "the logits stay", "others")
        found[site] = still if stays else _arrives(model, after, site, row)
    return found


def _arrives(model: LanguageModel, after: Seen, site: Site, row: int) -> Gap:
    """How far the stream behind an edited site of the stream is from holding what was put there."""
    layer = site.layer
    if site.name == "resid_post" and layer + 1 < model.dims.n_layers:
        return gap(after[Site("resid_pre", layer + 1)][row], after[site][row])
    if site.name in ("resid_pre", "attn_out", "mlp_out"):
        return _sum_of(after, layer, ("resid_pre", "attn_out", "mlp_out"), row=row)
    if site.name == "resid_mid":
        return _sum_of(after, layer, ("resid_mid", "mlp_out"), row=row)
    return SAME


def spread_of(tensor: Tensor) -> Tensor:
    """How large noise is to be that stands out beside `tensor`."""
    return tensor.float().std().clamp(min=1e-3).to(tensor)


def look_at(model: LanguageModel, check: str, sites: Sequence[Site]) -> Found:
    """What `check` finds at `sites`; each is looked at once per model."""
    if check not in SITE_CHECKS:
        raise InternalError(f"no check is called {check!r}.")
    whole = [Site(site.name, site.layer) for site in sites]
    unknown = [site for site in dict.fromkeys(whole) if (check, site) not in model.proofs]
    if unknown:
        found = SITE_CHECKS[check].measure(model, unknown)
        model.proofs.update({(check, site): found[site] for site in unknown})
    return {site: model.proofs[check, site] for site in whole}


def bound_of(model: LanguageModel, check: str) -> float:
    """The largest error at which a check of a site passes."""
    return 0.0 if check == "shapes" else exact_bound(model)
