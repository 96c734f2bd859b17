"""Exact contributions: how far each head and each MLP neuron pushes the residual stream along a
direction.

At one token, with v the unit direction: a head adds I_h = z_h . (W_O^h v), a neuron C_n = u_n
(W_out v)_n. This is v . (what zeroing the part takes from the stream), and the parts sum to v .
(the sublayer's output
- its bias). Formulas: "Do LLMs Feel?" (Emotion Circuits) and Elhage et al. 2021.

Where the sublayer's output a passes through an RMS norm before it is added (Gemma 2 and 3, OLMo 2),
both cannot be had at once (`post_norm`). What zeroing takes away is v . (norm(a) - norm(a - part));
this is the contribution here. With the norm's factor *frozen* at what it is for a whole, the parts
sum to v . (what is added - the bias's share), and are not what zeroing takes away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.post_norm import read_norm
from interp.chance import least_flip_p, sign_flip
from interp.directions import Direction
from interp.errors import ArtefactError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.checks.site_checks import output_map
from interp.sites import Site, site_columns
from interp.stats import Labels, group_sums, mean_interval

EXACT, FROZEN = "exact_contribution", "frozen_norm"
"""The second is told beside the first for models with a post-norm, as the metric
`frozen_contribution`.
"""

KINDS = {"head": "z", "neuron": "post"}
_SUBLAYER: dict[str, Literal["attn", "mlp"]] = {"z": "attn", "post": "mlp"}
_WRITTEN_BY = {
    "resid_pre": (-1, -1),
    "resid_mid": (0, -1),
    "resid_post": (0, 0),
}
"""The last layers, relative to the site's own, whose attention and whose MLP have been added to the
stream at a site.
"""


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """A head (`name` z) or an MLP neuron (`name` post), by layer and index."""

    name: str
    layer: int
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class EmotionTwins:
    """The twins of an emotion: of each pair the numbers of its affective and its neutral item, and
    its scenario.
    """

    emotion: str
    items: Int[np.ndarray, "pair 2"]
    groups: Labels


def is_unit(direction: Direction) -> bool:
    """Whether the natural length can be a unit: it is above zero, as is its interval, if any."""
    return direction.length > 0 and not direction.length_interval[0] <= 0


def contributions_of_heads(
    z: Float[Tensor, "item head d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    v: Float[Tensor, " d_model"] | Float[Tensor, "item d_model"],
) -> Float[Tensor, "item head"]:
    """I_h = z_h . (W_O^h v) for each item; v may differ from item to item."""
    if v.ndim == 1:
        return torch.einsum("ihk,hk->ih", z, torch.einsum("hkd,d->hk", W_O, v))
    return torch.einsum("ihk,hkd,id->ih", z, W_O, v)


def contributions_of_neurons(
    post: Float[Tensor, "item d_mlp"],
    W_out: Float[Tensor, "d_mlp d_model"],
    v: Float[Tensor, " d_model"] | Float[Tensor, "item d_model"],
) -> Float[Tensor, "item d_mlp"]:
    """C_n = u_n (W_out v)_n for each item; v may differ from item to item."""
    return post * (v @ W_out.T)


def contributions_at(
    model: LanguageModel,
    site: Site,
    x: Float[np.ndarray, "item ..."],
    vector: Float[np.ndarray, " d_model"],
    *,
    frozen: bool = False,
) -> Float[np.ndarray, "item component"]:
    """Contributions to `vector` of all heads (x at a `z` site) or all neurons (x at a `post` site)
    of a layer, at one token: what setting each to zero takes away from what the layer adds.

    `frozen`: behind a post-norm, with its factor held (the module's head); else it changes nothing.
    Raises `UsageError` for another site, `ArtefactError` when the vector is not as wide as the
    model.
    """
    if site.name not in _SUBLAYER or site.head is not None:
        raise UsageError(
            f"contributions are read at z or post, all heads together, and not at {site}."
        )
    if len(vector) != model.dims.d_model:
        raise ArtefactError(
            f"the direction is {len(vector)} wide and {model.name} is {model.dims.d_model} wide."
        )
    active, v = (
        torch.from_numpy(np.array(x, dtype=np.float32)),
        torch.from_numpy(np.array(vector, dtype=np.float32)),
    )
    weight, bias = (tensor.detach().float().cpu() for tensor in output_map(model, site))
    along = contributions_of_heads if site.name == "z" else contributions_of_neurons
    post_norm = model.post_norm(site.layer, _SUBLAYER[site.name])
    if post_norm is None:
        return along(active, weight, v).numpy().astype(np.float64)
    output = active.flatten(1) @ weight.flatten(0, -2) + bias
    norm = read_norm(post_norm, output.to(model.device))
    if frozen:
        return along(active, weight, norm.gain(output) * v).numpy().astype(np.float64)
    squares = _head_squares if site.name == "z" else _neuron_squares
    found = norm.removed(
        output,
        v,
        along=along(active, weight, norm.weight * v),
        inner=along(active, weight, output),
        square=squares(active, weight),
    )
    return found.numpy().astype(np.float64)


def _head_squares(
    z: Float[Tensor, "item head d_head"], W_O: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, "item head"]:
    """|z_h W_O^h|^2 = z_h (W_O^h W_O^h^T) z_h."""
    return torch.einsum("ihk,hkl,ihl->ih", z, W_O @ W_O.mT, z)


def _neuron_squares(
    post: Float[Tensor, "item d_mlp"], W_out: Float[Tensor, "d_mlp d_model"]
) -> Float[Tensor, "item d_mlp"]:
    """|u_n W_out_n|^2."""
    return (post * W_out.norm(dim=-1)).square()


def contribution_rows(
    model: LanguageModel,
    activations: Mapping[Site, Float[np.ndarray, "item ..."]],
    twins: EmotionTwins,
    direction: Direction,
    *,
    top: int = 100,
    report: EmotionTwins | None = None,
) -> list[dict[str, Any]]:
    """Rows of the `top` heads and the `top` neurons by mean paired difference of their
    contribution: affective minus neutral.

    `activations` maps `z` and `post` sites to values at the texts' last token; `twins` says which
    items are compared. Only components that write before the direction's site count; column
    `direction_layer` says at which layer it lies. Intervals are over scenarios. What is ranked
    highest is so by chance too: `report` (other twins of the emotion, which took no part) gives the
    value and its interval, and column `half` says "report", else "choose". `rank` counts from 1 for
    the largest push towards the emotion; `component` is head or neuron, `index` its number; `p` is
    that it does not push towards the emotion, by flipping the signs of the scenarios that tell the
    value, `least_p` the smallest that so many allow. Behind a post-norm each has a second row,
    metric `frozen_contribution`. Raises `UsageError`, before anything is computed, where the parts
    at a site do not add up to what is added to the stream.
    """
    counted = _counted(model, activations, direction)
    told = twins if report is None else report
    half = "choose" if report is None else "report"
    rows = []
    for kind, name in KINDS.items():
        sites = sorted(site for site in counted if site.name == name)
        paired = _paired(model, activations, sites, direction, (twins.items, told.items))
        order = _order(paired)[:top]
        normed = {
            site.layer for site in sites if model.post_norm(site.layer, _SUBLAYER[name]) is not None
        }
        behind = [site for site in sites if site.layer in normed]
        frozen = _paired(model, activations, behind, direction, (told.items,), frozen=True)
        for rank, component in enumerate(order, start=1):
            where = Site(name, component.layer, component.index if kind == "head" else None)
            common = {**site_columns(where), "emotion": twins.emotion, "component": kind}
            common |= {"half": half, "index": component.index, "rank": rank}
            common |= {"direction_layer": direction.site.layer}
            values = paired[component][1]
            estimate = mean_interval(values, told.groups)._asdict()
            sums = group_sums(values, told.groups)
            tested = {"p": sign_flip(sums, side="above"), "least_p": least_flip_p(len(sums))}
            rows.append({**common, "method": EXACT, "metric": "contribution", **estimate, **tested})
            if component in frozen:
                estimate = mean_interval(frozen[component][0], told.groups)._asdict()
                rows.append(
                    {**common, "method": FROZEN, "metric": "frozen_contribution", **estimate}
                )
    return rows


def _paired(
    model: LanguageModel,
    activations: Mapping[Site, Float[np.ndarray, "item ..."]],
    sites: Sequence[Site],
    direction: Direction,
    twins: Sequence[Int[np.ndarray, "_ 2"]],
    *,
    frozen: bool = False,
) -> dict[Component, list[Float[np.ndarray, " pair"]]]:
    """For each component at `sites`, affective minus neutral in each set of twins."""
    paired: dict[Component, list[np.ndarray]] = {}
    for site in sites:
        each = contributions_at(model, site, activations[site], direction.vector, frozen=frozen)
        apart = [each[rows[:, 0]] - each[rows[:, 1]] for rows in twins]
        for i in range(each.shape[1]):
            paired[Component(site.name, site.layer, i)] = [difference[:, i] for difference in apart]
    return paired


def order_components(
    model: LanguageModel,
    activations: Mapping[Site, Float[np.ndarray, "item ..."]],
    twins: EmotionTwins,
    direction: Direction,
) -> dict[str, list[Component]]:
    """All heads and all neurons that write before the direction's site, by kind, in the order of
    `contribution_rows`: the last push away from the emotion most. Raises as that.
    """
    counted = _counted(model, activations, direction)
    found = {}
    for kind, name in KINDS.items():
        sites = sorted(site for site in counted if site.name == name)
        found[kind] = _order(_paired(model, activations, sites, direction, (twins.items,)))
    return found


def _counted(
    model: LanguageModel, activations: Mapping[Site, np.ndarray], direction: Direction
) -> list[Site]:
    """The sites whose parts write before the direction's, where contributions can be read."""
    counted = [
        site
        for site in activations
        if site.name in KINDS.values() and writes_before(site, direction.site)
    ]
    require(model, "contributions", counted)
    return counted


def _order(paired: Mapping[Component, list[np.ndarray]]) -> list[Component]:
    """Components by their mean paired difference in the first twins, the largest first."""
    return sorted(paired, key=lambda one: -float(paired[one][0].mean()))


def ranked(rows: Sequence[Mapping[str, Any]], *, component: str, emotion: str) -> list[Component]:
    """The components of one kind out of `contribution_rows`, the strongest first."""
    asked = {"component": component, "emotion": emotion, "metric": "contribution"}
    mine = [row for row in rows if all(row[key] == value for key, value in asked.items())]
    return [
        Component(KINDS[component], int(row["layer"]), int(row["index"]))
        for row in sorted(mine, key=lambda row: row["rank"])
    ]


def writes_before(component: Site, target: Site) -> bool:
    """Whether what `component` writes has reached the `target` site directly, without a later layer
    in between.
    """
    sublayer = _SUBLAYER[component.name]
    if target.name in ("attn_out", "mlp_out"):
        return component.layer == target.layer and target.name.startswith(sublayer)
    if target.name not in _WRITTEN_BY:
        raise UsageError(
            f"contributions are to a direction in the residual stream, and {target} is not there."
        )
    attention, mlp = _WRITTEN_BY[target.name]
    return component.layer <= target.layer + (attention if sublayer == "attn" else mlp)
