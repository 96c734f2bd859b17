"""EDITS: what an intervention does to an activation, as pure functions of the selected tokens.

An edit is `edit(x, at) -> x'` with `x: Float["token *site"]`, the activations of the selected
tokens alone, and `at`, which says of each token its row in the batch and its absolute position in
the text. It returns a new tensor of the same shape and dtype. A factory in `EDITS` takes arrays
(numpy or torch) and makes an edit; an array may be given once for all tokens (`[*site]`), one per
row (`[batch, *site]`), or one per row and absolute position (`[batch, pos, *site]`).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.errors import ArtefactError, UsageError


class Selected(NamedTuple):
    """Where the selected tokens stand: their rows in the batch and their absolute positions (0 =
    the text's first token).
    """

    row: Int[Tensor, " token"]
    position: Int[Tensor, " token"]


Edit = Callable[[Float[Tensor, " token *site"], Selected], Float[Tensor, " token *site"]]
AnyArray = np.ndarray | Tensor


def add(vector: AnyArray, *, scale: float | Sequence[float] | AnyArray = 1.0) -> Edit:
    """x + scale v. `scale` is one number or one per row of the batch; a row whose scale is 0 stays
    bit for bit what it was.

    Raises `UsageError` when a scale is not finite, `ArtefactError` when the vector is not.
    """
    v, coefficient = _finite("the vector", vector), _coefficients(scale)

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        c = _a_token(coefficient, x, at)
        return torch.where(c == 0, x, x + (c * _at(v, x, at).float()).to(x.dtype))

    return edit


def set_to(vector: AnyArray, *, value: float) -> Edit:
    """x with its component along v made `value`: x + (value - x.u) u, u = v/|v|; everything
    orthogonal to v is kept.
    """
    u = _unit(vector)
    goal = _number("value", value)

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        direction, wide = _at(u, x, at).float(), x.float()
        along = (wide * direction).sum(-1, keepdim=True)
        return (wide + (goal - along) * direction).to(x.dtype)

    return edit


def project_out(vectors: AnyArray) -> Edit:
    """x without its part in the span of `vectors` (`[width]` or `[k, width]`): x - Q Q^T x, Q an
    orthonormal basis of it.
    """
    spanning = torch.atleast_2d(_finite("the vectors", vectors).double())
    left, size, _ = torch.linalg.svd(spanning.T, full_matrices=False)
    if size.max() == 0:
        raise ArtefactError(
            "project_out: all vectors are zero, there is nothing to project out. Give a "
            "direction with a norm."
        )
    basis = left[:, size > size.max() * 1e-10].float()

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        _check_width(basis.shape[0], x)
        wide, q = x.float(), basis.to(x.device)
        return (wide - (wide @ q) @ q.T).to(x.dtype)

    return edit


def erase(projection: AnyArray, *, centre: AnyArray) -> Edit:
    """The affine eraser x - P (x - mu), with P `[width, width]` and mu `[width]`: an `Eraser` has
    both (`interp.analysis.erasers.fit_eraser`; LEACE, Belrose et al. 2023).
    """
    p, mu = _finite("the projection", projection).float(), _finite("the centre", centre).float()
    if p.shape != (len(mu), len(mu)):
        raise UsageError(
            f"erase: the projection is {tuple(p.shape)} and the centre {tuple(mu.shape)}: "
            "expected (d, d) and (d,)."
        )

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        _check_width(len(mu), x)
        wide = x.float()
        return (wide - (wide - mu.to(x.device)) @ p.to(x.device).T).to(x.dtype)

    return edit


def rotate(vector: AnyArray, *, angle: float) -> Edit:
    """x turned by `angle` radians (0 to pi) towards v in the plane of x and v, its norm kept; it
    stops when it reaches v.

    A token that lies on the line of v has no such plane and is kept.
    """
    u = _unit(vector)
    if not 0 <= _number("angle", angle) <= math.pi:
        raise UsageError(
            f"rotate: the angle is {angle}; expected 0 to pi radians. To turn away from v give -v."
        )

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        direction, wide = _at(u, x, at).float(), x.float()
        norm = wide.norm(dim=-1, keepdim=True)
        along = (wide * direction).sum(-1, keepdim=True)
        rest = wide - along * direction
        across = rest.norm(dim=-1, keepdim=True)
        turned = (torch.atan2(across, along) - angle).clamp(min=0.0)
        plane = across > 1e-6 * norm
        new = norm * (
            turned.cos() * direction
            + turned.sin() * rest / torch.where(plane, across, torch.ones_like(across))
        )
        return torch.where(plane, new, wide).to(x.dtype)

    return edit


def replace(values: AnyArray, *, units: Bool[Tensor, " batch *unit"] | None = None) -> Edit:
    """x exchanged for `values`. With `units`, only in the units (heads of z, neurons of post) that
    are True for the row.
    """
    new = _finite("the values", values)

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        value = _at(new, x, at).to(x.dtype).expand_as(x)
        if units is None:
            return value.clone()
        return where_chosen(units, value, x, at)

    return edit


def exchange(
    values: AnyArray,
    place: Int[Tensor, "row pos"],
    *,
    units: Bool[Tensor, " batch *unit"] | None = None,
) -> Edit:
    """What `replace` does, for values that many rows share: x at a row and absolute position is
    exchanged for the value whose number stands there in `place`.
    """
    new = _finite("the values", values)

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        own = new.to(x.device)[place.to(x.device)[at.row, at.position]].to(x.dtype)
        return own if units is None else where_chosen(units, own, x, at)

    return edit


def blend(values: AnyArray, place: Int[Tensor, "row pos"], *, share: float) -> Edit:
    """x moved by `share` of the way to the value of `exchange`: 0 leaves it, 1 exchanges it."""
    whole, part = exchange(values, place), _number("share", share)

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        wide = x.float()
        return (wide + part * (whole(x, at).float() - wide)).to(x.dtype)

    return edit


def scale_by(factor: float | Sequence[float] | AnyArray) -> Edit:
    """factor * x, with one factor or one per row of the batch; a row whose factor is 1 stays bit
    for bit what it was.
    """
    coefficient = _coefficients(factor)

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        return (x.float() * _a_token(coefficient, x, at)).to(x.dtype)

    return edit


def set_to_mean(values: Float[np.ndarray, " item *site"] | Float[Tensor, " item *site"]) -> Edit:
    """x exchanged for the mean of `values` over their first axis (mean ablation)."""
    return replace(_finite("the values", values).float().mean(0))


def zero() -> Edit:
    """x exchanged for zeros (zero ablation)."""

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        return torch.zeros_like(x)

    return edit


EDITS: dict[str, Callable[..., Edit]] = {
    "add": add,
    "set_to": set_to,
    "project_out": project_out,
    "erase": erase,
    "rotate": rotate,
    "replace": replace,
    "exchange": exchange,
    "blend": blend,
    "scale_by": scale_by,
    "mean": set_to_mean,
    "zero": zero,
}


def _finite(what: str, array: AnyArray) -> Tensor:
    tensor = torch.as_tensor(np.array(array) if isinstance(array, np.ndarray) else array).detach()
    if not torch.isfinite(tensor).all():
        raise ArtefactError(
            f"{what} of an edit holds values that are not finite: make it again from finite "
            "activations."
        )
    return tensor


def _unit(vector: AnyArray) -> Tensor:
    v = _finite("the vector", vector).double()
    norm = v.norm(dim=-1, keepdim=True)
    if (norm == 0).any():
        raise ArtefactError(
            "the vector of an edit has norm zero: it points nowhere. Make the direction again."
        )
    return (v / norm).float()


def _number(what: str, value: float) -> float:
    if not math.isfinite(value):
        raise UsageError(f"{what} is {value}: give a finite number.")
    return float(value)


def _coefficients(scale: float | Sequence[float] | AnyArray) -> Tensor:
    tensor = torch.as_tensor(np.array(scale) if isinstance(scale, np.ndarray) else scale).float()
    if not torch.isfinite(tensor).all() or tensor.ndim > 1:
        raise UsageError(
            f"the scale is {scale}: give a finite number, or one finite number a row of the batch."
        )
    return tensor


def where_chosen(units: Tensor, value: Tensor, x: Tensor, at: Selected) -> Tensor:
    """`value` in the units of each token's row that are True, and x in the others."""
    chosen = units.to(x.device)[at.row]
    return torch.where(chosen.reshape(*chosen.shape, *[1] * (x.ndim - chosen.ndim)), value, x)


def _a_token(coefficient: Tensor, x: Tensor, at: Selected) -> Tensor:
    own = coefficient.to(x.device)
    own = own[at.row] if own.ndim else own.expand(len(x))
    return own.reshape(-1, *[1] * (x.ndim - 1))


def _at(values: Tensor, x: Tensor, at: Selected) -> Tensor:
    """The values of the selected tokens, out of an array for all, a row, or a row and position."""
    site_axes = x.ndim - 1
    _check_width(values.shape[-1] if values.ndim else 0, x)
    own = values.to(x.device)
    if own.ndim == site_axes:
        return own.expand_as(x)
    if own.ndim == site_axes + 1:
        return own[at.row]
    if own.ndim == site_axes + 2:
        return own[at.row, at.position]
    raise UsageError(
        f"an edit's array has the shape {tuple(values.shape)} and a token at the site "
        f"{tuple(x.shape[1:])}: give one such array, one per row, or one per row and position."
    )


def _check_width(width: int, x: Tensor) -> None:
    if width != x.shape[-1]:
        raise ArtefactError(
            f"an edit's array is {width} wide and the site {x.shape[-1]}: it was made for "
            "another site or model."
        )
