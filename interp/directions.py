"""Direction and Eraser: what is fitted on activations, and what a model can be edited with.

Both carry their site and where they came from, and are saved as a safetensors file with a JSON
card.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from interp import array_files
from interp.errors import ArtefactError, UsageError
from interp.notebook import as_html
from interp.sites import Site

_UNIT_TOLERANCE = 1e-6
_LENGTH_WAS_SCALE = 1
"""The last schema of a card that called a direction's length its scale."""


@dataclass(frozen=True, slots=True)
class Direction:
    """A unit `vector` at `site`; `labels` are (what projects higher, what projects lower).

    `length` is the natural length: the mean difference of the two labels' projections on held-out
    scenarios, in units of the activations, so that length * vector (`step`) is the shift that other
    scenarios show. It may be zero or below: then the direction has no length and is no unit of
    anything. `length_interval` is its 95 % interval over scenarios; NaN where there is none, as in
    files of before, whose length is that of the fitted texts themselves and too long. `spread` is
    the standard deviation of that difference over the fitted pairs. `stream_norm` is the root mean
    square of the activations' norm over the fitted texts, the other unit of strength; NaN where it
    is not known, as in files of before. `neutral` are the projections x . vector of the neutral
    texts, each along a direction that was fitted without its scenario: what a reading is held
    against (`interp.analysis.units`); `affective` are those of their twins, in the same order. Both
    are empty where they are not known. Raises `ArtefactError` unless the vector is finite and of
    norm one, length, spread and projections are finite, spread is not negative, and a known norm is
    positive.
    """

    vector: Float[np.ndarray, " d_model"]
    site: Site
    method: str
    labels: tuple[str, str]
    length: float
    spread: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    length_interval: tuple[float, float] = (np.nan, np.nan)
    stream_norm: float = np.nan
    neutral: Float[np.ndarray, " text"] = field(default_factory=lambda: np.empty(0))
    affective: Float[np.ndarray, " twin"] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not np.isfinite(self.vector).all():
            raise ArtefactError(
                f"the direction at {self.site} is not finite: {_not_finite(self.vector)} of its "
                "numbers are nan or inf."
            )
        norm = float(np.linalg.norm(self.vector))
        if abs(norm - 1) > _UNIT_TOLERANCE:
            raise ArtefactError(
                f"the direction at {self.site} has norm {norm:.6g}, expected 1: make it with `fit`."
            )
        if not (np.isfinite([self.length, self.spread]).all() and self.spread >= 0):
            numbers = f"length {self.length} and spread {self.spread}"
            raise ArtefactError(
                f"the direction at {self.site} has {numbers}: expected finite, spread >= 0."
            )
        if not (np.isnan(self.stream_norm) or 0 < self.stream_norm < np.inf):
            raise ArtefactError(
                f"the direction at {self.site} has the stream's norm {self.stream_norm}: expected "
                "a finite number above 0."
            )
        for name in ("neutral", "affective"):
            if wrong := _not_finite(known := getattr(self, name)):
                raise ArtefactError(
                    f"the direction at {self.site} has {name} projections that are not finite: "
                    f"{wrong} of {len(known)}."
                )
        for name in ("vector", "neutral", "affective"):
            own = np.array(getattr(self, name))
            own.setflags(write=False)
            object.__setattr__(self, name, own)

    @property
    def step(self) -> Float[np.ndarray, " d_model"]:
        """length * vector: what steering adds at scale 1."""
        return self.vector * self.length

    def with_origin(self, origin: Mapping[str, Any]) -> "Direction":
        """The same direction, whose provenance says that its activations came from `origin`. The
        warnings of both are kept.
        """
        told = {**origin, **self.provenance}
        warnings = [one for by in (origin, self.provenance) for one in by.get("warnings", [])]
        return replace(self, provenance={**told, "warnings": warnings} if warnings else told)

    def _repr_html_(self) -> str:
        """For a notebook: what it is the direction of, where, and how long it is."""
        low, high = self.length_interval
        interval = "" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]"
        facts = [
            ("site", self.site),
            ("method", self.method),
            ("width", len(self.vector)),
            ("length on held-out scenarios", f"{self.length:.3g}{interval}"),
            ("norm of the activations", f"{self.stream_norm:.3g}"),
            ("model", self.provenance.get("model")),
            *(("warning", warning) for warning in self.provenance.get("warnings", ())),
        ]
        return as_html(f"Direction from {self.labels[1]} to {self.labels[0]}", facts)

    def save(self, path: Path | str) -> None:
        """Write `path` (safetensors) and its JSON card beside it, each atomically."""
        about = {
            "site": str(self.site), "method": self.method, "labels": list(self.labels),
            "length": self.length, "spread": self.spread, "provenance": dict(self.provenance),
            "length_interval": [_known(end) for end in self.length_interval],
            "stream_norm": _known(self.stream_norm),
        }  # fmt: skip
        arrays = {"vector": self.vector, "neutral": self.neutral, "affective": self.affective}
        doubles = {name: np.asarray(one, dtype=np.float64) for name, one in arrays.items()}
        array_files.write_arrays(Path(path), doubles, about)

    @classmethod
    def load(cls, path: Path | str) -> "Direction":
        """Read a direction back. Raises `ArtefactError` for a changed, foreign or impossible
        file.
        """
        tensors, about = array_files.read_arrays(Path(path))
        if "kind" in about:
            raise ArtefactError(
                f"{path} holds {about['kind']!r} and no direction, which is a vector that is added."
            )
        length = "length" if about["schema"] > _LENGTH_WAS_SCALE else "scale"
        try:
            low, high = map(_number, about.get(f"{length}_interval", (None, None)))
            return cls(
                tensors["vector"],
                Site.parse(about["site"]),
                about["method"],
                (about["labels"][0], about["labels"][1]),
                float(about[length]),
                float(about["spread"]),
                about["provenance"],
                (low, high),
                _number(about.get("stream_norm")),
                *(tensors.get(name, np.empty(0)) for name in ("neutral", "affective")),
            )
        except (KeyError, TypeError, ValueError, IndexError, UsageError) as error:
            raise ArtefactError(f"{path} does not hold a direction: {error}.") from error


@dataclass(frozen=True, slots=True, eq=False)
class Eraser:
    """The affine map x -> x - projection (x - centre) at `site`, which takes away what a linear
    probe can know of `labels`. `projection` is idempotent, and rarely orthogonal.

    Raises `ArtefactError` unless both are finite, of one width, and the projection is idempotent.
    Source: LEACE, Belrose et al. 2023; `interp.analysis.erasers.fit_eraser` makes one.
    """

    projection: Float[np.ndarray, "d_model d_model"]
    centre: Float[np.ndarray, " d_model"]
    site: Site
    labels: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        p = self.projection
        if p.shape != (len(self.centre),) * 2 or _not_finite(p) or _not_finite(self.centre):
            raise ArtefactError(
                f"the eraser at {self.site} has a projection {p.shape} and a centre "
                f"{self.centre.shape}: expected finite (d, d) and (d,). Fit it again."
            )
        if np.abs(p @ p - p).max(initial=0.0) > 1e-6 * max(
            1.0, float(np.abs(p).max(initial=0.0)) ** 2
        ):
            raise ArtefactError(
                f"the eraser at {self.site} is no projection: P P is not P. Fit it again."
            )

    def __call__(self, x: Float[np.ndarray, "item d_model"]) -> Float[np.ndarray, "item d_model"]:
        """The rows without what it erases."""
        return x - (x - self.centre) @ self.projection.T

    def save(self, path: Path | str) -> None:
        """Write `path` (safetensors) and its JSON card beside it, each atomically."""
        arrays = {"projection": self.projection.astype(float), "centre": self.centre.astype(float)}
        about = {
            "site": str(self.site),
            "labels": list(self.labels),
            "provenance": dict(self.provenance),
        }
        array_files.write_arrays(Path(path), arrays, {"kind": "eraser", **about})

    @classmethod
    def load(cls, path: Path | str) -> "Eraser":
        """Read an eraser back. Raises `ArtefactError` for a changed, foreign or impossible file."""
        arrays, about = array_files.read_arrays(Path(path))
        try:
            site, labels = Site.parse(about["site"]), tuple(map(str, about["labels"]))
            return cls(arrays["projection"], arrays["centre"], site, labels, about["provenance"])
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise ArtefactError(f"{path} does not hold an eraser: {error}.") from error


def _known(number: float) -> float | None:
    """A number as a card holds it: NaN is none."""
    return None if np.isnan(number) else number


def _number(known: float | None) -> float:
    return np.nan if known is None else float(known)


def _not_finite(vector: np.ndarray) -> int:
    return int((~np.isfinite(vector)).sum())
