"""Path patching: the effect of one node that reaches the words through one receiver alone.

1. Run the target and keep what every sublayer adds.
2. Run it again with the sender's activation exchanged for the source's, and everything that later
   sublayers add held at the target's: the sender's change then travels along the stream only. Keep
   what the receiver computes from it. Of a head's three inputs only one may change; the other two
   are held, too.
3. Run the target with the receiver computing that, and all behind it free. The change of the logit
   difference is the path's effect. Where the receiver is the logits, step 2 has it already.

Wang et al. 2022, there with MLPs left free; here they are held like heads, as in Goldowsky-Dill et
al. 2023, so that a path is one edge of the stream.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.causal.attribution import encode_cases
from interp.causal.edits import Selected, replace
from interp.causal.forward import batches
from interp.causal.interventions import Intervention
from interp.causal.nodes import Node
from interp.causal.pooled import ALL
from interp.causal.prefix import Prefix, prefix_tokens
from interp.causal.readout import Readout, TokenReadout
from interp.causal.transplants import Case, read_sources, transplant
from interp.causal.words import word_scores
from interp.errors import StatisticsError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.progress import track
from interp.results import TableRow, TableRows
from interp.sites import Site
from interp.stats import mean_interval
from stimuli.battery import Pair

INPUTS_OF_A_HEAD = ("q", "k", "v")
_ADDED = ("attn_out", "mlp_out")


class Receiver(NamedTuple):
    """Where a path ends: the input `q`, `k` or `v` of a query head, what an MLP reads (`mlp`), or
    the `logits`.

    Query heads that share keys and values have paths of their own: `k` of head 3 is what head 3
    alone reads.
    """

    name: str
    layer: int = -1
    head: int | None = None

    @property
    def site(self) -> Site:
        """Where step 3 puts what the receiver computes."""
        if self.name == "mlp":
            return Site("mlp_out", self.layer)
        return Site("z", self.layer, self.head)

    @property
    def whole(self) -> Site:
        """That site, with all its heads."""
        return Site(self.site.name, self.layer)

    @property
    def columns(self) -> dict[str, Any]:
        """The receiver as columns of a table."""
        layer = np.nan if self.name == "logits" else self.layer
        head = np.nan if self.head is None else self.head
        return {"receiver": self.name, "receiver_layer": layer, "receiver_head": head}


class Edge(NamedTuple):
    """A path: from the change of a node to one receiver."""

    sender: Node
    receiver: Receiver


def patch_paths(
    model: LanguageModel,
    pairs: Sequence[Pair],
    readout: Readout,
    paths: Sequence[Edge],
    *,
    position: str = "last",
    seed: int = 0,
) -> TableRows:
    """Rows of `path_effect` (nats of the logit difference, as `interp.causal.patching` has it) for
    each path, both directions, each emotion and all together; the sender is patched at `position`.

    Raises `StatisticsError` for no pairs, `DataError` for twins of the same tokens, `UsageError`
    for a receiver that is none, that does not come behind its sender, or that the model lacks, and
    where an edit is not what its name says.
    """
    check_edges(model, pairs, paths, position)
    bound = readout.bind(model)
    labels = np.array([pair.affective.emotion for pair in pairs])
    for emotion in dict.fromkeys(labels.tolist()):
        bound.column(emotion)
    groups = np.array([pair.affective.group for pair in pairs])
    rows: TableRows = []
    for way, cases in encode_cases(model, pairs, readout, seed=seed).own.items():
        effects = path_effects(model, cases, bound, paths, position)
        for path, moved in effects.items():
            for emotion in [ALL, *dict.fromkeys(labels.tolist())]:
                mine = (labels == emotion) | (emotion == ALL)
                found = mean_interval(moved[mine], groups[mine])._asdict()
                rows.append({**path_place(path, position, way, emotion), **found})
    return rows


def path_place(path: Edge, position: str, way: str, emotion: str) -> TableRow:
    """The columns of a row of `path_effect`, but for its numbers."""
    where = {"position": position, "mode": way, "emotion": emotion, "control": ""}
    named = {"method": "path_patching", "metric": "path_effect"}
    return {**path.sender.columns, **path.receiver.columns, **where, **named}


def path_effects(
    model: LanguageModel,
    cases: Sequence[Case],
    bound: TokenReadout,
    paths: Sequence[Edge],
    position: str,
) -> dict[Edge, Float[np.ndarray, " case"]]:
    """Of each path what it does to the logit difference in each case (nats)."""
    found = {path: np.full(len(cases), np.nan) for path in paths}
    chunks = batches([case.target for case in cases], budget=prefix_tokens(model))
    for index in track(chunks, "paths", unit="batch"):
        batch = PathBatch(model, [cases[i] for i in index], bound, paths, position)
        for path, effect in batch.effects(paths):
            found[path][index] = effect
    return found


class PathBatch:
    """Some targets, run once: what their sublayers add is kept (`target`), and the inputs of the
    heads of `layers`; `clean` is their logit difference.
    """

    def __init__(
        self,
        model: LanguageModel,
        cases: Sequence[Case],
        bound: TokenReadout,
        paths: Sequence[Edge],
        position: str,
    ) -> None:
        self.cases, self.bound = cases, bound
        self.moves = [case.moves[position, ""] for case in cases]
        self.lengths = [len(case.target.tokens) for case in cases]
        starts = [int(put[0]) for _, put in self.moves]
        self.prefix = Prefix(model, [case.target for case in cases], starts)
        layers = {path.receiver.layer for path in paths if path.receiver.head is not None}
        every = range(model.dims.n_layers)
        kept = [Site(name, layer) for layer in every for name in _ADDED]
        kept += [Site(name, layer) for layer in sorted(layers) for name in INPUTS_OF_A_HEAD]
        self.target: dict[Site, Tensor] = {}
        self.clean = self._score([self._keep(site, self.target) for site in kept])
        sites = list(dict.fromkeys(path.sender.site for path in paths))
        self._source = read_sources(model, cases, range(len(cases)), "", sites)

    def effects(self, paths: Sequence[Edge]) -> Iterator[tuple[Edge, Float[np.ndarray, " case"]]]:
        """Each path and its effect in each case."""
        for sender, receivers in by_run(paths):
            computed, direct = self.computed(sender, receivers)
            for one in receivers:
                moved = direct
                if one.name != "logits":
                    moved = self._score([Intervention(one.site, replace(computed[one.site]))])
                yield Edge(sender, one), moved - self.clean

    def computed(
        self, sender: Node, receivers: Sequence[Receiver]
    ) -> tuple[dict[Site, Tensor], Float[np.ndarray, " case"]]:
        """What receivers of one name compute where the sender's change alone reaches them, by row
        and absolute position; and the logit difference where it reaches the logits alone.
        """
        change = transplant(sender, self._source, self.moves, self.lengths, 0)
        found: dict[Site, Tensor] = {}
        return found, self._score([change, *self._held(sender, receivers, found)])

    def _held(
        self,
        sender: Node,
        receivers: Sequence[Receiver],
        computed: dict[Site, Tensor],
    ) -> Iterator[Intervention]:
        """Everything behind the sender held at the target's, and what the receivers compute from
        the sender's change kept. An MLP is kept before it is held.
        """
        asked = {one.site for one in receivers if one.name != "logits"}
        name = receivers[0].name
        for site, value in self.target.items():
            if site.name in INPUTS_OF_A_HEAD:
                if name in INPUTS_OF_A_HEAD and site.name != name:
                    yield Intervention(site, replace(value))
            elif site in asked:
                yield self._keep(site, computed, hold=value)
            elif _is_behind(site, sender):
                yield Intervention(site, replace(value))
        if name in INPUTS_OF_A_HEAD:
            for site in asked:
                yield self._keep(site, computed)

    def _score(self, edits: Sequence[Intervention]) -> Float[np.ndarray, " case"]:
        """The logit difference of each target's emotion under these edits."""
        found = self.prefix.run(edits, further=not self.bound.whole)
        scores = word_scores(found, self.bound).double().cpu().numpy()
        return self.bound.contrast(scores, [case.pair.affective.emotion for case in self.cases])

    def _keep(
        self, site: Site, kept: dict[Site, Tensor], *, hold: Tensor | None = None
    ) -> Intervention:
        """Keeps what passes a site, by row and absolute position, and hands it on, or what is to be
        held in its place.
        """
        shape = (len(self.lengths), max(self.lengths))

        def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
            whole = kept.setdefault(site, x.new_zeros(*shape, *x.shape[1:]))
            whole[at.row, at.position] = x
            return x if hold is None else hold[at.row, at.position]

        return Intervention(site, edit)


def by_run(paths: Sequence[Edge]) -> Iterator[tuple[Node, list[Receiver]]]:
    """The paths that one run of step 2 does for: one sender, and receivers of one name."""
    found: dict[tuple[Node, str], list[Receiver]] = {}
    for sender, receiver in paths:
        found.setdefault((sender, receiver.name), []).append(receiver)
    for (sender, _), receivers in found.items():
        yield sender, receivers


def _is_behind(site: Site, sender: Node) -> bool:
    """Whether a sublayer comes behind the node, so that the node's change reaches what it reads."""
    if site.layer != sender.site.layer:
        return site.layer > sender.site.layer
    return site.name == "mlp_out" and sender.site.name in ("attn_out", "z")


def check_edges(
    model: LanguageModel, pairs: Sequence[Pair], paths: Sequence[Edge], position: str
) -> None:
    """Raise as `patch_paths` does for no pairs, for what is no path of the model, for another
    position than last and edit, and where a sublayer cannot be held.
    """
    if not pairs or not paths:
        raise StatisticsError("path patching needs pairs of twins and paths, and got none.")
    if position not in ("last", "edit"):
        raise UsageError(f"unknown position {position!r}: a path begins at last or at edit.")
    for path in paths:
        _check_path(path, model)
    lowest = min(path.sender.site.layer for path in paths)
    layers = range(lowest, model.dims.n_layers)
    require(model, "patching", [Site(name, at) for name in _ADDED for at in layers])


def _check_path(path: Edge, model: LanguageModel) -> None:
    sender, receiver = path
    if sender.site.name not in ("z", "attn_out", "mlp_out", "post"):
        raise UsageError(
            f"{sender.site} is no sender of a path: expected a head of z, attn_out, mlp_out or a "
            "neuron of post."
        )
    known = (*INPUTS_OF_A_HEAD, "mlp", "logits")
    if receiver.name not in known or (receiver.head is None) == (receiver.name in INPUTS_OF_A_HEAD):
        raise UsageError(
            f"{tuple(receiver)} is no receiver of a path: expected ('q', layer, head), the same "
            "for k and v, ('mlp', layer) or ('logits',)."
        )
    heads = model.dims.n_heads
    if receiver.head is not None and not 0 <= receiver.head < heads:
        raise UsageError(f"receiver {tuple(receiver)}: {model.name} has heads 0..{heads - 1}.")
    if receiver.name == "logits":
        return
    if not receiver.layer < model.dims.n_layers:
        raise UsageError(
            f"receiver {tuple(receiver)}: {model.name} has layers 0..{model.dims.n_layers - 1}."
        )
    site = receiver.site if receiver.name == "mlp" else Site("attn_out", receiver.layer)
    if not _is_behind(site, sender):
        raise UsageError(
            f"receiver {tuple(receiver)} does not come behind its sender at {sender.site}: no "
            "path leads there."
        )
    wanted = [receiver.site]
    if receiver.head is not None:
        wanted += [Site(name, receiver.layer) for name in INPUTS_OF_A_HEAD]
    require(model, "patching", [sender.site, *wanted])
