"""Overlap of circuits: how many parts two emotions share, beside circuits of the same layers drawn
at random.

J = |A and B| / |A or B| (Jaccard), of heads and of neurons. Two random circuits of one part out of
four per layer share some, too: so the overlap stands beside the mean of random pairs with the same
number of parts in each layer, and p is that of random pairs sharing as much. A part that is loud in
every text is chosen for many emotions and shared by them; p does not know of that.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from interp.causal.allocation import SPLIT
from interp.causal.circuit import Circuit
from interp.causal.pooled import ALL
from interp.chance import permutation_p
from interp.sites import site_columns

DRAWS = 200

PartPlace = tuple[int, int]
"""(layer, index)."""


def jaccard(one: set[PartPlace], other: set[PartPlace]) -> float:
    """The share of all their parts that both have; 0 where there is none."""
    return len(one & other) / len(one | other) if one | other else 0.0


def overlap_rows(
    circuits: Mapping[str, Circuit], widths: Mapping[str, int], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows of `overlap` for every two emotions (each pair once) and of all together (the mean over
    pairs), for heads and neurons; control `random` beside each, with the range of its draws.

    `widths` says how many heads and neurons a layer has. p: the draws in which random circuits
    share at least as much.
    """
    rows: list[dict[str, Any]] = []
    pairs = list(combinations(circuits, 2))
    for kind in SPLIT if pairs else ():
        sets = {emotion: _places(one, kind) for emotion, one in circuits.items()}
        if not all(sets.values()):
            continue
        draw = np.random.default_rng(seed)
        drawn = [
            {one: _like(places, widths[kind], draw) for one, places in sets.items()}
            for _ in range(DRAWS)
        ]
        own = np.array([jaccard(sets[a], sets[b]) for a, b in pairs])
        random = np.array([[jaccard(one[a], one[b]) for a, b in pairs] for one in drawn])
        for at, (one, other) in enumerate(pairs):
            about = {"emotion": one, "target": other, "component": kind}
            n = len(sets[one] | sets[other])
            rows += _beside(float(own[at]), random[:, at], about, n)
        about = {"emotion": ALL, "target": ALL, "component": kind}
        rows += _beside(float(own.mean()), random.mean(axis=1), about, len(pairs))
    return rows


def _beside(
    own: float, random: np.ndarray, about: Mapping[str, Any], n: int
) -> list[dict[str, Any]]:
    low, high = np.quantile(random, [0.025, 0.975]).tolist()
    here = {**site_columns(None), **about, "method": "jaccard", "metric": "overlap"}
    return [
        {**here, "control": "", "value": own, "n": n, "p": permutation_p(own, random)},
        {
            **here,
            "control": "random",
            "value": float(random.mean()),
            "n": len(random),
            "draw_low": low,
            "draw_high": high,
        },
    ]


def _places(circuit: Circuit, kind: str) -> set[PartPlace]:
    return {(node.layer, node.index) for node in circuit.nodes[kind]}


def _like(places: set[PartPlace], width: int, draw: np.random.Generator) -> set[PartPlace]:
    """Random parts, as many in each layer."""
    wanted: Sequence[tuple[int, int]] = sorted(Counter(layer for layer, _ in places).items())
    return {
        (layer, int(index))
        for layer, n in wanted
        for index in draw.choice(width, size=n, replace=False)
    }
