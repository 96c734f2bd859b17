"""Nodes: the parts of a model whose activation is exchanged, one at a time.

A node is a whole site (what a sublayer adds, the stream behind a block), one query head's z, or one
neuron of an MLP.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import tell_refused, usable
from interp.sites import Site, expand, site_columns

NODE_SITES = ("resid_post", "attn_out", "mlp_out", "z", "post")
"""Sites that are nodes as a whole, or hold one node per head (z) or per neuron (post)."""

PARTS = {"z": "head", "post": "neuron"}
"""What a site that holds several nodes holds; every other site is a `SUBLAYER`."""

SUBLAYER = "sublayer"


class Node(NamedTuple):
    """All of a site (or one head of it, `site.head`), or of `post` the neuron number `unit`."""

    site: Site
    unit: int | None = None

    @property
    def component(self) -> str:
        """What kind of node it is: sublayer, head or neuron."""
        return component_of(self.site)

    @property
    def columns(self) -> dict[str, Any]:
        """The node as the columns of a table: site, layer, head, component and index."""
        index = self.site.head if self.unit is None else self.unit
        named = {"component": self.component, "index": math.nan if index is None else index}
        return {**site_columns(self.site), **named}


def component_of(site: Site) -> str:
    """What kind of nodes a site holds: sublayer, head or neuron."""
    return PARTS.get(site.name, SUBLAYER)


def node_at(site: Site, index: int) -> Node:
    """The node number `index` of a site, as the columns of its estimates count them."""
    if site.name == "z":
        return Node(Site("z", site.layer, index))
    return Node(site, index) if site.name == "post" else Node(site)


def node_sites(model: LanguageModel, texts: Sequence[str]) -> tuple[Site, ...]:
    """The sites of the nodes that `texts` name (as `interp.sites.expand` reads them), those left
    out with a warning where an edit is not what the name says.

    Raises `UsageError` for a site that holds no node, and where none is left.
    """
    named = expand(texts, n_layers=model.dims.n_layers)
    wrong = [site for site in named if site.name not in NODE_SITES or site.head is not None]
    if wrong or not named:
        raise UsageError(
            f"{wrong[0] if wrong else 'nothing'} is not a site of nodes: expected "
            f"{', '.join(NODE_SITES)}, all heads together. For q, k and v see path patching "
            "(interp.causal.paths)."
        )
    found, refused = usable(model, "patching", named)
    if not found:
        raise UsageError(tell_refused(refused))
    if refused:
        warnings.warn(tell_refused(refused), stacklevel=3)
    return tuple(found)
