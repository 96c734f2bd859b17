"""Which heads and neurons are patched exactly: those that the estimates rank first, and others."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.causal.nodes import SUBLAYER, Node, component_of, node_at
from interp.causal.pooled import ALL
from interp.sites import Site

TOP, RANDOM = "top", "random"
"""Why a head or neuron is patched exactly: it ranks high, or, as control, it was drawn at random
from the others.
"""


class Ranking(NamedTuple):
    """The nodes of one component at `sites`, each of `n_units`, the highest first (`order`)."""

    sites: Sequence[Site]
    n_units: int
    order: Int[np.ndarray, " node"]

    def node(self, place: int) -> Node:
        """The node at this place, counted from 0."""
        site, unit = divmod(int(self.order[place]), self.n_units)
        return node_at(self.sites[site], unit)

    def nodes(self, most: int | None = None) -> list[Node]:
        """The first `most` nodes; all without it."""
        return [self.node(place) for place in range(len(self.order))[:most]]


Ranked = dict[tuple[str, str], Ranking]
"""By component (head, neuron) and emotion, or `ALL`."""


def rank_nodes(
    towards: Mapping[Site, Float[np.ndarray, "case _"]], emotions: Shaped[np.ndarray, " case"]
) -> Ranked:
    """The heads and neurons at the sites of `towards`, by the mean of what they are estimated to do
    towards the emotion: over all cases, and over those of each emotion.
    """
    found: Ranked = {}
    for component in ("head", "neuron"):
        sites = [site for site in towards if component_of(site) == component]
        if not sites:
            continue
        effects = np.stack([towards[site] for site in sites])
        for emotion in [ALL, *dict.fromkeys(emotions.tolist())]:
            mine = (emotions == emotion) | (emotion == ALL)
            mean = effects[:, mine].mean(axis=1, dtype=np.float64).reshape(-1)
            order = np.argsort(-mean, kind="stable")
            found[component, emotion] = Ranking(sites, effects.shape[2], order)
    return found


def pick_nodes(ranked: Ranked, sites: Sequence[Site], top: int, *, seed: int) -> dict[Node, str]:
    """What is patched exactly, and why: all sublayers (`ALL`), the `top` heads and neurons, and as
    many others at random.
    """
    picked = {Node(site): ALL for site in sites if component_of(site) == SUBLAYER}
    random = np.random.default_rng(seed)
    for (_, emotion), ranking in ranked.items():
        if emotion == ALL:
            others = np.arange(len(ranking.order))[top:]
            drawn = random.choice(others, size=min(top, len(others)), replace=False)
            picked |= dict.fromkeys(ranking.nodes(top), TOP)
            picked |= {ranking.node(place): RANDOM for place in sorted(drawn.tolist())}
    return picked
