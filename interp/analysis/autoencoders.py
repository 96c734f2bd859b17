"""Sparse autoencoders: vectors of the stream as a few active features out of very many.

    features   f = act((x - c) W_enc + b_enc), c = b_dec or nothing
    back       x' = f W_dec + b_dec

    activation   what stays of a feature before it acts
    relu         what is above zero
    topk         what is above zero, of each vector's k largest (of equals at the border, all)
    jumprelu     what is above zero and above the feature's own threshold

Sources: Bricken et al. (2023); topk: Gao et al. (2024); jumprelu: Rajamanoharan et al. (2024).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.errors import ArtefactError, DataError, UsageError

ACTIVATIONS = {
    "relu": "what is above zero",
    "topk": "the k largest of them",
    "jumprelu": "those above a threshold of their own",
}
"""How a feature may act: what stays of it."""

Vectors = Float[np.ndarray, "item d_model"]
FeatureRows = Float[np.ndarray, "item feature"]

_AT_ONCE = 1 << 24
"""Numbers of a block of features, about."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseAutoencoder:
    """The weights of a sparse autoencoder and how it acts; `name` is for messages.

    Shapes: W_enc [d_model, d_sae], b_enc [d_sae], W_dec [d_sae, d_model], b_dec [d_model].
    `threshold` belongs to jumprelu, `k` to topk. `apply_b_dec_to_input`: b_dec is taken off before
    the vectors are encoded. `hook_name` is the site that it was trained on, in TransformerLens's
    words (empty: not said). Raises `ArtefactError`, naming the field, for an unknown activation, a
    shape that does not fit, numbers that are not finite, and a missing or needless `k` or
    `threshold`.
    """

    W_enc: Float[np.ndarray, "_ _"]
    b_enc: Float[np.ndarray, " _"]
    W_dec: Float[np.ndarray, "_ _"]
    b_dec: Float[np.ndarray, " _"]
    activation: str
    k: int | None = None
    threshold: Float[np.ndarray, " _"] | None = None
    apply_b_dec_to_input: bool = True
    hook_name: str = ""
    name: str = "the autoencoder"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ArtefactError(
                f"{self.name}: activation is {self.activation!r}; expected one of "
                f"{', '.join(ACTIVATIONS)}."
            )
        for field, kind in (("k", "topk"), ("threshold", "jumprelu")):
            if (getattr(self, field) is not None) != (self.activation == kind):
                there = "is missing" if self.activation == kind else "is there"
                raise ArtefactError(
                    f"{self.name}: {field} {there}, and activation is {self.activation!r}: "
                    f"{field} belongs to {kind}."
                )
        d_model, d_sae = self.W_enc.shape
        wanted = {"b_enc": (d_sae,), "W_dec": (d_sae, d_model), "b_dec": (d_model,)}
        if self.threshold is not None:
            wanted["threshold"] = (d_sae,)
        for field, shape in wanted.items():
            if (found := getattr(self, field).shape) != shape:
                raise ArtefactError(
                    f"{self.name}: {field} has the shape {found}, expected {shape}, since W_enc "
                    f"[d_model, d_sae] is {self.W_enc.shape}."
                )
        for field in ("W_enc", *wanted):
            lost = int((~np.isfinite(getattr(self, field))).sum())
            if lost:
                raise ArtefactError(f"{self.name}: {field} is not finite: {lost} numbers of it.")
        if self.k is not None and not 1 <= self.k <= d_sae:
            raise ArtefactError(f"{self.name}: k is {self.k}; expected 1 to {d_sae} (d_sae).")

    @property
    def d_model(self) -> int:
        """The width of the vectors that it reads."""
        return int(self.W_enc.shape[0])

    @property
    def d_sae(self) -> int:
        """How many features it has."""
        return int(self.W_enc.shape[1])

    def check_width(self, width: int, where: str) -> None:
        """Raise `UsageError` where vectors of `where` are not as wide as it reads."""
        if width != self.d_model:
            raise UsageError(
                f"{self.name}: W_enc reads vectors of {self.d_model} numbers, and {where} holds "
                f"{width}: it was made for another model or another site."
            )

    def encode(self, x: Vectors) -> FeatureRows:
        """All features of each vector."""
        return np.concatenate([one for _, one in self.blocks(x)], axis=1)

    def blocks(
        self, x: Vectors, *, at_once: int | None = None
    ) -> Iterator[tuple[int, FeatureRows]]:
        """The features of all vectors, `at_once` of them after the others, each block with the
        number of its first one: of very many features no more is held.
        """
        self.check_width(x.shape[1], "what is to be encoded")
        size = max(1, _AT_ONCE // max(len(x), 1)) if at_once is None else at_once
        least = self._least_kept(x, size)
        for first in range(0, self.d_sae, size):
            part = slice(first, first + size)
            before = self._before(x, part)
            kept = before > 0
            if self.threshold is not None:
                kept &= before > self.threshold[part]
            if least is not None:
                kept &= before >= least[:, None]
            yield first, np.where(kept, before, 0.0).astype(np.float32)

    def decode_blocks(self, encoded: Iterator[tuple[int, FeatureRows]], n: int) -> Vectors:
        """The vectors that these blocks of features stand for, of `n` items."""
        back = np.tile(self.b_dec.astype(np.float64), (n, 1))
        for first, block in encoded:
            back += block @ self.W_dec[first : first + block.shape[1]]
        return back

    def _before(self, x: Vectors, part: slice) -> FeatureRows:
        centred = x - self.b_dec if self.apply_b_dec_to_input else x
        return centred @ self.W_enc[:, part] + self.b_enc[part]

    def _least_kept(self, x: Vectors, size: int) -> Float[np.ndarray, " item"] | None:
        """Of each vector the k-th largest of all features before they act; None without a k."""
        if self.k is None:
            return None
        largest = np.empty((len(x), 0))
        for first in range(0, self.d_sae, size):
            found = self._before(x, slice(first, first + size))
            both = np.concatenate([largest, found], axis=1)
            cut = max(0, both.shape[1] - self.k)
            largest = np.partition(both, cut, axis=1)[:, cut:] if cut else both
        return largest.min(axis=1)


def explained_by(back: Vectors, x: Vectors) -> float:
    """The share of the vectors' variance about their mean that their reconstruction tells; below
    zero it tells less than the mean does. Raises `DataError` where the vectors do not vary.
    """
    spread = float(((x - x.mean(axis=0)) ** 2).sum())
    if not spread > 0:
        raise DataError("the vectors at this site are all the same: the hook did not fire.")
    return 1 - float(((x - back) ** 2).sum()) / spread
