"""Stand-ins: what heads, neurons and whole sublayers are set to where they are knocked out.

`resample` sets them to what they are in the text's neutral twin. Any other is a constant per site
and class of positions (a text's tokens, its last token, the readout's suffix). To add one, write
its function and its line in `STAND_INS`.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.contributions import KINDS
from interp.causal.forward import Encoded, batches, run_forward
from interp.models import LanguageModel
from interp.sites import Site

INNER, LAST_TOKEN, SUFFIX = range(3)
"""Classes of positions: a text's own tokens, the last of them, and the readout's suffix."""

Constants = dict[Site, Float[Tensor, " 3 *site"]]
"""Values per site, one for each class of positions."""


def position_classes(rows: Sequence[Encoded]) -> Int[Tensor, "text pos"]:
    """The class of each position; -1 before a text and behind its row."""
    classes = torch.full((len(rows), max(len(row.tokens) for row in rows)), -1)
    for place, row in enumerate(rows):
        classes[place, row.first : len(row.tokens)] = SUFFIX
        classes[place, row.first : row.end + 1] = INNER
        classes[place, row.end] = LAST_TOKEN
    return classes


def mean_values(model: LanguageModel, rows: Sequence[Encoded], sites: Sequence[Site]) -> Constants:
    """The mean activation over all texts; zero for a class of positions that no text has."""
    sums: dict[Site, Tensor] = {}
    counts = torch.zeros(3)
    for batch in batches(rows):
        mine = [rows[i] for i in batch]
        classes = position_classes(mine)
        chosen = torch.stack([classes == one for one in (INNER, LAST_TOKEN, SUFFIX)]).float()
        counts += chosen.sum((1, 2))
        for site, x in run_forward(model, mine, read=sites).sites.items():
            total = torch.einsum("crp,rp...->c...", chosen.to(x.device), x.float())
            sums[site] = total + sums.get(site, torch.zeros_like(total))
    many = counts.clamp(min=1)
    return {
        site: total / many.to(total.device).view(3, *[1] * (total.ndim - 1))
        for site, total in sums.items()
    }


def zero_values(model: LanguageModel, rows: Sequence[Encoded], sites: Sequence[Site]) -> Constants:
    """Zeros."""
    dims = model.dims
    shapes = {KINDS["head"]: (dims.n_heads, dims.d_head), KINDS["neuron"]: (dims.d_mlp,)}
    whole = (dims.d_model,)
    return {site: torch.zeros(3, *shapes.get(site.name, whole)) for site in sites}


StandIn = Callable[[LanguageModel, Sequence[Encoded], Sequence[Site]], Constants]
"""A function of the model, all texts, and the sites that are touched."""

STAND_INS: dict[str, StandIn | None] = {"resample": None, "mean": mean_values, "zero": zero_values}
"""The stand-ins by name, None for the neutral twin's own values; a study takes the one that
`--ablate-with` names.
"""
