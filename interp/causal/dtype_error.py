"""What a coarse dtype does to effects: the same patches in it and in float32, on a few pairs."""

from collections.abc import Sequence

import numpy as np

from interp.causal.attribution import encode_cases
from interp.causal.attribution_rows import BOTH, exact_effects
from interp.causal.nodes import Node
from interp.causal.patching import PATCHING
from interp.causal.pooled import ALL
from interp.causal.readout import Readout
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.results import TableRow
from interp.sites import STREAM, Site, site_columns
from stimuli.battery import Pair

DTYPE_ERROR = "dtype_error"

PAIRS_COMPARED = 4
"""Pairs that are patched in both, at most."""


def dtype_error_row(
    model: LanguageModel, exact: LanguageModel, pairs: Sequence[Pair], readout: Readout
) -> TableRow:
    """The row of `DTYPE_ERROR` (nats): the largest difference between an effect in `model` and the
    same in `exact`, its weights in float32, over the first `PAIRS_COMPARED` pairs and both ways;
    column `largest` is the largest effect in float32, which to hold it against.

    The effects are of exchanging what each block's attention and MLP add, and the stream behind
    the middle layer, at the text's last token.
    Raises `UsageError` where both compute in the same dtype, or are of different sizes.
    """
    if model.dtype == exact.dtype or model.dims != exact.dims:
        raise UsageError(
            f"{model.name} in {model.dtype} is held against {exact.name} in {exact.dtype}: give "
            "the same model in a coarse dtype, and in float32."
        )
    n = model.dims.n_layers
    sites = [Site(name, layer) for name in ("attn_out", "mlp_out") for layer in range(n)]
    nodes = [Node(site) for site in (*sites, Site(STREAM, n // 2))]
    some = pairs[:PAIRS_COMPARED]
    effects = []
    for one in (model, exact):
        given, bound = encode_cases(one, some, readout), readout.bind(one)
        found = exact_effects(one, given, bound, {"last": nodes})
        effects.append(np.array([found[node, "last", way] for node in nodes for way in given.own]))
    place = {**site_columns(None), "position": "last", "mode": BOTH, "emotion": ALL, "control": ""}
    return {
        **place,
        "method": PATCHING,
        "metric": DTYPE_ERROR,
        "value": float(np.abs(effects[0] - effects[1]).max()),
        "largest": float(np.abs(effects[1]).max()),
        "n": len(some),
    }
