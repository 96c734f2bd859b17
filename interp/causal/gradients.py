"""Gradients: what passes a model's sites, and how a score behind the texts changes with it.

The texts are read up to the first token that is asked for; from there on one pass forward records
its graph, and one goes backward: what stands before does not depend on what is asked for. The
gradient is taken at the site itself, where an edit acts: norms behind a sublayer, shared keys and
values, windows and capped logits lie behind it and are in it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.forward import Encoded, Pass
from interp.causal.interventions import Intervention
from interp.causal.prefix import Prefix, rows_at_once
from interp.causal.transplants import Held, padded_positions
from interp.errors import DataError, UsageError
from interp.models import LanguageModel
from interp.models.editable import Hook
from interp.sites import Site

Score = Callable[[Pass], Float[Tensor, " row"]]
"""One number per row of a pass, which can be differentiated."""

Edits = Callable[[Int[Tensor, " row"]], Sequence[Intervention]]
"""The interventions of a pass over these of the texts."""


def no_edits(rows: Int[Tensor, " row"]) -> Sequence[Intervention]:
    """The texts as they are."""
    return ()


class Slopes(NamedTuple):
    """What passes the sites of some texts, and the gradient of each text's score there; both in
    float32, at the same positions.
    """

    values: Held
    gradient: Held


def read_slopes(
    model: LanguageModel,
    texts: Sequence[Encoded],
    sites: Sequence[Site],
    score: Score,
    positions: Sequence[Int[np.ndarray, " _"]],
    *,
    edits: Edits = no_edits,
    starts: Sequence[int] | None = None,
) -> Slopes:
    """One pass over `texts` under `edits`, and the gradient of each text's score at `sites`.
    `starts`: the first position of each text that is edited (None: none before its `positions`).

    Where the score reads words of several tokens, the texts are read again with their beginnings
    behind them, and the gradients are summed. Raises `DataError` for a gradient that is not finite,
    `UsageError` for a site that the score does not depend on.
    """
    begin = [int(own[0]) for own in positions] if starts is None else starts
    passes = _Passes(Prefix(model, texts, begin), sites, edits)
    everyone = torch.arange(len(texts))
    at = passes.columns(padded_positions(positions))
    found = Pass(passes.run(everyone), {}, torch.zeros(len(texts), dtype=torch.long), passes)
    slope = _slopes(passes, score(found).sum(), at)
    _require_finite_slopes(model, slope, texts)
    _, first = passes.kept[0]
    values = {site: _take(first[site].detach(), at) for site in sites}
    return Slopes(Held(values, positions), Held(slope, positions))


class _Passes:
    """The passes that a score needs: over the texts, and over texts with further tokens behind
    them (`interp.causal.words.ReadsOn`).
    """

    def __init__(self, prefix: Prefix, sites: Sequence[Site], edits: Edits) -> None:
        self.prefix, self.sites, self.edits = prefix, sites, edits
        self.kept: list[tuple[Tensor, dict[Site, Tensor]]] = []

    def columns(self, positions: Int[Tensor, "row kept"]) -> Int[Tensor, "row kept"]:
        """Where these positions of each text stand in what is kept; those before it at 0."""
        return (positions + (self.prefix.pads - self.prefix.column)[:, None]).clamp(min=0)

    def rows_at_once(self, length: int) -> int:
        """How many texts are read at once with so many tokens behind each."""
        prefix = self.prefix
        behind = prefix.batch.ids.shape[1] - prefix.column + length
        return rows_at_once(prefix.model, before=prefix.column, behind=behind)

    def read(
        self, rows: Int[Tensor, " row"], ids: Int[Tensor, "row new"]
    ) -> Float[Tensor, "row d_vocab"]:
        """Logits behind the tokens `ids`, each row of them behind the text `rows[i]`."""
        return self.run(rows, ids)

    def run(
        self, rows: Int[Tensor, " row"], ids: Int[Tensor, "row new"] | None = None
    ) -> Float[Tensor, "row d_vocab"]:
        """Logits of a pass over the texts `rows`, whose sites are kept with their graph."""
        kept: dict[Site, Tensor] = {}
        hooks = [_root(), *(_keep(site, kept) for site in self.sites)]
        with self.prefix.model.traced():
            logits, _ = self.prefix.read(self.edits(rows), hooks, rows, more=ids)
        self.kept.append((rows, kept))
        return logits


def _root() -> Hook:
    """Where the graph begins: the stream that the first block reads."""

    def begin(x: Tensor, hook: Any = None) -> Tensor:
        return x.detach().requires_grad_()

    return Site("resid_pre", 0).hook, begin


def _keep(site: Site, kept: dict[Site, Tensor]) -> Hook:
    """Hands on what it keeps: a bridge may show a hook another tensor than the one it goes on
    with, and a gradient is of what leads to the score.
    """

    def keep(x: Tensor, hook: Any = None) -> Tensor:
        kept[site] = x.view_as(x)
        return kept[site]

    return site.hook, keep


def _slopes(
    passes: _Passes, total: Float[Tensor, ""], at: Int[Tensor, "row kept"]
) -> dict[Site, Float[Tensor, " row kept *site"]]:
    """The gradient of `total` at the positions `at` of each text, summed over the passes."""
    nodes = [kept[site] for _, kept in passes.kept for site in passes.sites]
    found = iter(torch.autograd.grad(total, nodes, allow_unused=True))
    slope: dict[Site, Tensor] = {}
    for rows, _ in passes.kept:
        for site in passes.sites:
            gradient = next(found)
            if gradient is None:
                raise UsageError(
                    f"{passes.prefix.model.name}: the words do not depend on {site}: name other "
                    "sites."
                )
            own = _take(gradient, at[rows])
            whole = slope.setdefault(site, torch.zeros(len(at), *own.shape[1:], device=own.device))
            whole.index_add_(0, rows.to(own.device), own)
    return slope


def _take(
    x: Float[Tensor, " row pos *site"], at: Int[Tensor, "row kept"]
) -> Float[Tensor, " row kept *site"]:
    return x[torch.arange(len(x))[:, None], at.to(x.device)].float()


def _require_finite_slopes(
    model: LanguageModel, slope: dict[Site, Tensor], texts: Sequence[Encoded]
) -> None:
    for site, gradient in slope.items():
        broken = (~gradient.flatten(1).isfinite().all(dim=1)).nonzero().flatten().tolist()
        if broken:
            start = model.decode(texts[broken[0]].tokens)[:60]
            raise DataError(
                f"{model.name}: the gradient at {site} is not finite on {len(broken)} texts, the "
                f"first {start!r}: try float32."
            )
