"""LEACE: the smallest affine change of activations after which no linear probe knows a label.

Source: Belrose et al. 2023, "LEACE: Perfect linear concept erasure in closed form", theorem 4.3.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.directions import Eraser
from interp.errors import DataError, StatisticsError
from interp.sites import Site
from interp.stats import Labels, codes

_SMALLEST_VARIANCE = 1e-10
"""Relative to the largest: directions in which the activations do not vary are left alone."""


def fit_eraser(
    x: Float[np.ndarray, "item d_model"],
    labels: Labels,
    *,
    site: Site,
    provenance: Mapping[str, Any] | None = None,
) -> Eraser:
    """The eraser of `labels` (one per row of x) at a site.

    On the rows that it was fitted on no linear probe then does better than always giving the
    labels' shares, whatever its loss; on other rows it may. Erase inside the folds of a probe.
    Raises as `erasing_map`.
    """
    projection, centre = erasing_map(x, labels)
    names = tuple(str(one) for one in np.unique(np.asarray(labels)))
    return Eraser(projection, centre, site, names, provenance or {})


def erasing_map(
    x: Float[np.ndarray, "item d_model"], labels: Labels
) -> tuple[Float[np.ndarray, "d_model d_model"], Float[np.ndarray, " d_model"]]:
    """The projection P and the centre c of x -> x - P (x - c), which erases `labels`.

    Raises `DataError` for rows that do not match or are not finite, `StatisticsError` for one
    label.
    """
    if len(x) != len(labels) or x.ndim != 2 or not np.isfinite(x).all():
        raise DataError(
            f"an eraser needs one label per finite row: {x.shape} activations and {len(labels)} "
            "labels."
        )
    names, kind = np.unique(np.asarray(labels)), codes(labels)
    if len(names) < 2:
        raise StatisticsError(
            f"there is nothing to erase: all rows have the label {names.tolist()}."
        )
    centre = x.mean(axis=0, dtype=np.float64)
    rows = x - centre
    told = np.eye(len(names))[kind] - np.eye(len(names))[kind].mean(axis=0)
    # W = Sigma_XX^(-1/2), W_inverse = Sigma_XX^(1/2), both on the space in which x varies.
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    held = values > _SMALLEST_VARIANCE * values[-1]
    root, basis = np.sqrt(values[held]), vectors[:, held]
    # The columns of W Sigma_XZ, and an orthonormal basis of what they span.
    whitened = (basis.T @ (rows.T @ told / len(rows))) / root[:, None]
    left, size, _ = np.linalg.svd(whitened, full_matrices=False)
    span = left[:, size > 1e-8 * max(float(size[0]), 1e-30)]
    # P = W^(-1) (span span^T) W
    return (basis * root) @ span @ (span.T @ (basis / root).T), centre
