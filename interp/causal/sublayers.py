"""What each sublayer adds for an emotion: its direction, how far that holds, and which of its heads
or neurons push along it.

A sublayer is a layer's attention or its MLP. All is read at the text's last token, off what heads
(`z`) and neurons (`post`) hold there. Of twins i, d_i is what the sublayer adds in the affective
text less what it adds in the neutral one; its direction v is the unit vector of the mean of d_i.
The labels give v its sign, so that nothing is turned round.

The reference v_ref is the direction that the whole model works towards: the unit vector of the sum
of v over a stable segment of layers, each v weighted by its stability (zero where that is below
zero). "Do LLMs Feel?" (Emotion Circuits) sums the plain v over layers 21 to 25 of 28. A sublayer
that adds nothing for the emotion has a unit v, too, and without the weights as loud a say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.contributions import KINDS, EmotionTwins, contributions_at
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.checks.site_checks import output_map
from interp.sites import Site
from interp.stats import Labels, group_sums

PLACES = {"z": "attn_out", "post": "mlp_out"}
"""Where what heads and neurons write is added to the stream."""

_SUBLAYER: dict[str, Literal["attn", "mlp"]] = {"z": "attn", "post": "mlp"}

HALVES = 8
"""Times that the scenarios are halved at random for a stability."""

SEGMENT = 5 / 28
"""The share of the layers in the segment of v_ref: layers 21 to 25 of 28 in Emotion Circuits."""


@dataclass(frozen=True, slots=True, eq=False)
class Sublayer:
    """What one sublayer adds for an emotion.

    `site` is where its parts are read (z or post), `place` where what they write is added. `vector`
    is the unit direction (zeros where the twins do not differ), `stability` its mean cosine between
    random halves of the scenarios, `sigma` the mean root mean square of what is added in the
    neutral texts (residual units), `pushes` each part's mean paired contribution along `vector`
    (residual units), `shifts` the mean paired difference of what each part holds.
    """

    site: Site
    vector: Float[np.ndarray, " d_model"]
    stability: float
    sigma: float
    pushes: Float[np.ndarray, " part"]
    shifts: Float[np.ndarray, "part ..."]

    @property
    def place(self) -> Site:
        """Where what it writes is added to the stream."""
        return Site(PLACES[self.site.name], self.site.layer)


@dataclass(frozen=True, slots=True, eq=False)
class EmotionReading:
    """All sublayers for one emotion, in the order in which the model runs them; the `reference`
    v_ref and the layers that it was summed over.
    """

    emotion: str
    sublayers: tuple[Sublayer, ...]
    reference: Float[np.ndarray, " d_model"]
    segment: tuple[int, ...]


def read_emotion(
    model: LanguageModel,
    activations: Mapping[Site, Float[np.ndarray, "item ..."]],
    twins: EmotionTwins,
    *,
    seed: int = 0,
) -> EmotionReading:
    """The sublayers of `activations` (z and post sites) for the emotion of `twins`.

    Raises `StatisticsError` where no sublayer's direction holds from one half of the scenarios to
    the other, so that there is no reference.
    """
    order = sorted(activations, key=lambda site: (site.layer, list(PLACES).index(site.name)))
    found = [
        _read_sublayer(model, site, activations[site][twins.items], twins.groups, seed=seed)
        for site in order
    ]
    layers = sorted({one.site.layer for one in found})
    held = [
        float(np.mean([one.stability for one in found if one.site.layer == layer]))
        for layer in layers
    ]
    segment = tuple(layers[at] for at in stable_segment(held))
    inside = [one for one in found if one.site.layer in segment]
    total = np.sum([max(one.stability, 0.0) * one.vector for one in inside], axis=0)
    length = float(np.linalg.norm(total))
    if length == 0:
        raise StatisticsError(
            f"no sublayer adds anything for {twins.emotion!r} that holds from one half of the "
            "scenarios to the other: there is no direction that a circuit could work towards."
        )
    return EmotionReading(twins.emotion, tuple(found), total / length, segment)


def stable_segment(stability: Sequence[float]) -> range:
    """The run of neighbouring layers (their numbers in `stability`) that holds best on average:
    `SEGMENT` of all layers, and at least two, since attention moves what an MLP then reads.
    """
    n = min(len(stability), max(2, round(SEGMENT * len(stability))))
    means = [
        float(np.mean(stability[first : first + n])) for first in range(len(stability) - n + 1)
    ]
    first = int(np.argmax(means))
    return range(first, first + n)


def _read_sublayer(
    model: LanguageModel,
    site: Site,
    x: Float[np.ndarray, "pair 2 ..."],
    groups: Labels,
    *,
    seed: int,
) -> Sublayer:
    """One sublayer, from what its parts hold in the affective and the neutral text of each pair."""
    rows = x.reshape(-1, *x.shape[2:])
    added = sublayer_output(model, site, rows).reshape(len(x), 2, -1)
    differences = added[:, 0] - added[:, 1]
    vector = _unit(differences.mean(axis=0))
    pushes = contributions_at(model, site, rows, vector).reshape(len(x), 2, -1)
    return Sublayer(
        site,
        vector,
        half_cosine(differences, groups, seed=seed),
        float(np.sqrt(np.square(added[:, 1]).mean(axis=-1)).mean()),
        (pushes[:, 0] - pushes[:, 1]).mean(axis=0),
        (x[:, 0] - x[:, 1]).mean(axis=0, dtype=np.float64),
    )


def sublayer_output(
    model: LanguageModel, site: Site, x: Float[np.ndarray, "item ..."]
) -> Float[np.ndarray, "item d_model"]:
    """What attention (x at a `z` site) or the MLP (x at a `post` site) adds to the stream at one
    token: its parts through their output matrix, with the bias, and through a post-norm.
    """
    weight, bias = (tensor.detach().float().cpu() for tensor in output_map(model, site))
    parts = torch.from_numpy(np.array(x, dtype=np.float32)).flatten(1)
    output = parts @ weight.flatten(0, -2) + bias
    norm = model.post_norm(site.layer, _SUBLAYER[site.name])
    if norm is not None:
        with torch.no_grad():
            output = norm(output.to(model.device, model.dtype)).float().cpu()
    return output.numpy().astype(np.float64)


def half_cosine(
    differences: Float[np.ndarray, "pair d_model"], groups: Labels, *, seed: int
) -> float:
    """The mean cosine between the mean differences of two random halves of the scenarios; 0 with
    fewer than two scenarios, or where a half does not differ.
    """
    sums = group_sums(differences, groups)
    draw, found = np.random.default_rng(seed), []
    for _ in range(HALVES if len(sums) > 1 else 0):
        order = draw.permutation(len(sums))
        one, other = (_unit(sums[order[half::2]].sum(axis=0)) for half in (0, 1))
        found.append(float(one @ other))
    return float(np.mean(found)) if found else 0.0


def _unit(vector: Float[np.ndarray, " d_model"]) -> Float[np.ndarray, " d_model"]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.zeros_like(vector)


def kind_of(site: Site) -> str:
    """head for a z site, neuron for a post site."""
    return next(kind for kind, name in KINDS.items() if name == site.name)
