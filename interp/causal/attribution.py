"""Exact contributions: how far each head and each MLP neuron pushes the residual stream along a direction.

At one token, with v the unit direction: a head adds I_h = z_h . (W_O^h v), a neuron C_n = u_n (W_out v)_n. They sum to
v . (the sublayer's output - its bias). Where the sublayer's output passes through an RMS norm before it is added (Gemma-2),
the norm's factor at that very token, gain = weight / rms, is applied to v, so the sum still equals v . (what is added - the
bias's share), exactly. Formulas: "Do LLMs Feel?" (Emotion Circuits) and Elhage et al. 2021.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from interp.chance import sign_flip
from interp.errors import ArtefactError, UsageError
from interp.models import LanguageModel
from interp.models.doctor import require_sums
from interp.sites import Site, place
from interp.stats import group_sums, mean_interval

METHOD = "exact_contribution"
KINDS = {"head": "z", "neuron": "post"}
_SUBLAYER: dict[str, Literal["attn", "mlp"]] = {"z": "attn", "post": "mlp"}
_WRITTEN_BY = {
    "resid_pre": (-1, -1),
    "resid_mid": (0, -1),
    "resid_post": (0, 0),
}
"""The last layers, relative to the site's own, whose attention and whose MLP have been added to the stream at a site."""


@runtime_checkable
class DirectionLike(Protocol):
    """What this room needs of a direction: a unit vector at a site, its natural length, and where it came from."""

    @property
    def vector(self) -> Float[np.ndarray, " d_model"]:
        """The unit vector."""

    @property
    def site(self) -> Site:
        """Where it was fitted."""

    @property
    def scale(self) -> float:
        """The natural length: `scale * vector` is the step that held-out twins show; not above zero: there is none."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Model and revision, among others."""


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """A head (`name` z) or an MLP neuron (`name` post), by layer and index."""

    name: str
    layer: int
    index: int


def is_unit(direction: DirectionLike) -> bool:
    """Whether the natural length is above zero, and so is its interval where it has one: then it can be a unit."""
    low = getattr(direction, "scale_interval", (np.nan, np.nan))[0]
    return direction.scale > 0 and not low <= 0


def head_contributions(
    z: Float[Tensor, "item head d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    v: Float[Tensor, " d_model"] | Float[Tensor, "item d_model"],
) -> Float[Tensor, "item head"]:
    """I_h = z_h . (W_O^h v) for each item; v may differ from item to item (a post-norm's gain)."""
    if v.ndim == 1:
        return torch.einsum("ihk,hk->ih", z, torch.einsum("hkd,d->hk", W_O, v))
    return torch.einsum("ihk,hkd,id->ih", z, W_O, v)


def neuron_contributions(
    post: Float[Tensor, "item d_mlp"],
    W_out: Float[Tensor, "d_mlp d_model"],
    v: Float[Tensor, " d_model"] | Float[Tensor, "item d_model"],
) -> Float[Tensor, "item d_mlp"]:
    """C_n = u_n (W_out v)_n for each item; v may differ from item to item (a post-norm's gain)."""
    return post * (v @ W_out.T)


def post_norm_gain(norm: Callable[[Tensor], Tensor], output: Float[Tensor, "item d_model"]) -> Float[Tensor, "item d_model"]:
    """The factors g with norm(x) = g * x for each item: weight / rms(x). Raises `UsageError` when the norm is no RMS norm
    (it centres, or has a bias), since then no such factors exist.
    """
    with torch.no_grad():
        weight, normed = norm(torch.full_like(output[:1], 1e3))[0], norm(output)
    shaped = output * weight
    factor = (normed * shaped).sum(-1, keepdim=True) / shaped.square().sum(-1, keepdim=True)
    if not torch.allclose(factor * shaped, normed, rtol=1e-3, atol=1e-4 * float(normed.abs().max())):
        raise UsageError("contributions need the norm after a sublayer to be an RMS norm without bias, and this one is not.")
    return factor * weight


def contributions(
    model: LanguageModel, site: Site, x: Float[np.ndarray, "item ..."], vector: Float[np.ndarray, " d_model"]
) -> Float[np.ndarray, "item component"]:
    """Contributions to `vector` of all heads (x at a `z` site) or all neurons (x at a `post` site) of a layer, at one token.

    Raises `UsageError` for another site, `ArtefactError` when the vector is not as wide as the model.
    """
    if site.name not in _SUBLAYER or site.head is not None:
        raise UsageError(f"contributions are read at z or post, all heads together, and not at {site}.")
    if len(vector) != model.dims.d_model:
        raise ArtefactError(f"the direction is {len(vector)} wide and {model.name} is {model.dims.d_model} wide.")
    active, v = torch.from_numpy(np.array(x, dtype=np.float32)), torch.from_numpy(np.array(vector, dtype=np.float32))
    weight, bias = (tensor.detach().float().cpu() for tensor in _output_map(model, site))
    norm = model.post_norm(site.layer, _SUBLAYER[site.name])
    if norm is not None:
        raw = active.flatten(1) @ weight.flatten(0, -2) + bias
        gain = post_norm_gain(norm, raw.to(model.device))
        v = gain.detach().float().cpu() * v
    found = head_contributions(active, weight, v) if site.name == "z" else neuron_contributions(active, weight, v)
    return found.numpy().astype(np.float64)


def contribution_rows(
    model: LanguageModel,
    activations: Mapping[Site, Float[np.ndarray, "item ..."]],
    twins: Int[np.ndarray, "pair 2"],
    direction: DirectionLike,
    *,
    emotion: str,
    groups: Shaped[np.ndarray, " pair"] | Sequence[str],
    top: int = 100,
    report: tuple[Int[np.ndarray, "pair 2"], Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the `top` heads and the `top` neurons by mean paired difference of their contribution: affective minus neutral.

    `activations` maps `z` and `post` sites to values at the texts' last token; `twins` holds, a pair, the rows of the affective
    and the neutral item, `groups` its scenario. Only components that write before the direction's site count. Intervals are
    over scenarios.
    What is ranked highest is so by chance too: `report` (twins and groups that took no part) gives the value and its
    interval, and column `half` says "report", else "choose".
    `rank` counts from 1 for the largest push towards the emotion; `component` is head or neuron, `index` its number; `p` is
    that it does not push towards the emotion, by flipping the signs of the scenarios that tell the value.
    Raises `UsageError`, before anything is computed, where the parts at a site do not add up to what is added to the stream.
    """
    counted = [site for site in activations if site.name in KINDS.values() and writes_before(site, direction.site)]
    require_sums(model, counted)
    rows = []
    for kind, name in KINDS.items():
        paired: dict[Component, np.ndarray] = {}
        told: dict[Component, np.ndarray] = {}
        for site in sorted(site for site in counted if site.name == name):
            each = contributions(model, site, activations[site], np.asarray(direction.vector))
            difference = each[twins[:, 0]] - each[twins[:, 1]]
            paired |= {Component(name, site.layer, i): difference[:, i] for i in range(difference.shape[1])}
            if report is not None:
                apart = each[report[0][:, 0]] - each[report[0][:, 1]]
                told |= {Component(name, site.layer, i): apart[:, i] for i in range(apart.shape[1])}
        order = sorted(paired, key=lambda component: -float(paired[component].mean()))[:top]
        for rank, component in enumerate(order, start=1):
            where = Site(name, component.layer, component.index if kind == "head" else None)
            values, scenarios = (paired[component], groups) if report is None else (told[component], report[1])
            estimate = mean_interval(values, scenarios)._asdict()
            half = "choose" if report is None else "report"
            common = {"method": METHOD, "metric": "contribution", "emotion": emotion, "component": kind, "half": half}
            p = sign_flip(group_sums(values, scenarios), side="above")
            rows.append({**place(where), **common, **estimate, "index": component.index, "rank": rank, "p": p})
    return rows


def ranked(rows: Sequence[Mapping[str, Any]], *, component: str, emotion: str) -> list[Component]:
    """The components of one kind out of `contribution_rows`, the strongest first."""
    mine = [row for row in rows if row["component"] == component and row["emotion"] == emotion]
    return [
        Component(KINDS[component], int(row["layer"]), int(row["index"])) for row in sorted(mine, key=lambda row: row["rank"])
    ]


def _output_map(model: LanguageModel, site: Site) -> tuple[Tensor, Tensor]:
    if site.name == "z":
        return model.W_O(site.layer), model.b_O(site.layer)
    return model.W_out(site.layer), model.b_out(site.layer)


def writes_before(component: Site, target: Site) -> bool:
    """Whether what `component` writes has reached the `target` site directly, without a later layer in between."""
    sublayer = _SUBLAYER[component.name]
    if target.name in ("attn_out", "mlp_out"):
        return component.layer == target.layer and target.name.startswith(sublayer)
    if target.name not in _WRITTEN_BY:
        raise UsageError(f"contributions are to a direction in the residual stream, and {target} is not there.")
    attention, mlp = _WRITTEN_BY[target.name]
    return component.layer <= target.layer + (attention if sublayer == "attn" else mlp)
