"""Patched runs: many patches of many cases, in few passes.

The sources are read once for all patches (`interp.causal.sources`), and so are the targets, up to
the first token that is patched (`interp.causal.prefix`); patches of one layer share passes, which
begin there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.forward import Pass, batches
from interp.causal.nodes import Node
from interp.causal.prefix import Prefix, begins_at, prefix_tokens
from interp.causal.readout import TokenReadout
from interp.causal.restoration import COPY, KL_TARGET, SAME_NORM
from interp.causal.sources import Sources
from interp.causal.transplants import Case, Donor, transplant
from interp.causal.words import word_scores
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import Site

Cell = dict[str, Float[np.ndarray, " case *column"]]
NodeKey = tuple[Node | None, str, str]
"""Node, position and control of a cell; without a node the unpatched runs, "source" and "target",
or, where the control is `COPY`, everything at the position.
"""

NodesAt = Mapping[str, Sequence[Node]]
"""By position the nodes that are patched there."""

Scored = tuple[NodeKey, Mapping[str, Float[Tensor, " row *column"]]]
"""A cell, and what was measured of its cases: the readout's `scores` and `kl` (nats), ..."""


class Beside(NamedTuple):
    """What is measured of patches besides the readout's scores and the KL to the source: the KL to
    the target, the copy of everything at a position, and random vectors as a control, drawn by
    `noise` (None: none).
    """

    kl_target: bool = False
    copy: bool = False
    noise: torch.Generator | None = None


_ALONE = Beside()


class _Arm(NamedTuple):
    """One patch: of nodes together at a position, from the source or the control's, into some of a
    batch's cases.
    """

    nodes: Sequence[Node]
    position: str
    control: str
    rows: list[int]

    @property
    def key(self) -> NodeKey:
        """Whose cell it is."""
        node = None if self.control == COPY else self.nodes[0]
        return node, self.position, self.control


class _Goals(NamedTuple):
    """Log-probabilities of the next token behind each unpatched source, and behind each unpatched
    target where the KL to it is asked for.
    """

    source: Float[Tensor, "case d_vocab"]
    target: Float[Tensor, "case d_vocab"] | None = None

    def measure(
        self, found: Pass, bound: TokenReadout, rows: Sequence[int]
    ) -> dict[str, Float[Tensor, " row *column"]]:
        """What is measured of a pass whose rows are these cases."""
        of = {"scores": word_scores(found, bound), "kl": _kl(found.logits, self.source[rows])}
        if self.target is not None:
            of[KL_TARGET] = _kl(found.logits, self.target[rows])
        return of


def patched_cells(
    model: LanguageModel,
    cases: Sequence[Case],
    bound: TokenReadout,
    nodes: NodesAt,
    beside: Beside = _ALONE,
    sources: Sources | None = None,
) -> dict[NodeKey, Cell]:
    """Scores and KL of every patch, by (node, position, control), each an array over `cases`, NaN
    where a case has no such stranger. `sources` are those of several sweeps that share texts.

    The unpatched runs stand under (None, "source" or "target", ""), the copy of everything at a
    position under (None, position, `COPY`).
    """
    if sources is None:
        sources = patch_sources(model, cases, bound, nodes, beside)
    cells: dict[NodeKey, Cell] = {}
    behind = [len(case.target.tokens) - int(case.moves["edit", ""][1][0]) for case in cases]
    chunks = batches([case.target for case in cases], budget=prefix_tokens(model), sizes=behind)
    done = (
        (index, scored)
        for index in chunks
        for scored in _patch_batch(model, [cases[i] for i in index], bound, nodes, beside, sources)
    )
    arms = 1 + len({control for case in cases for control in case.strangers})
    arms += beside.noise is not None
    total = len(chunks) * (2 + sum(len(own) * arms + beside.copy for own in nodes.values()))
    for index, (key, measured) in track(done, "patching", unit="patch", total=total):
        mine = index[_rows_with(key[2], [cases[i] for i in index])]
        cell = cells.setdefault(key, {})
        for name, values in measured.items():
            shape = (len(cases), *values.shape[1:])
            cell.setdefault(name, np.full(shape, np.nan))[mine] = values.cpu().numpy()
    return cells


def patch_sources(
    model: LanguageModel,
    cases: Iterable[Case],
    bound: TokenReadout,
    nodes: NodesAt,
    beside: Beside = _ALONE,
) -> Sources:
    """The sources of these cases, as patches of these nodes need them."""
    sites = [node.site for own in nodes.values() for node in own]
    return Sources(model, cases, bound, [*sites, *(_copied(model) if beside.copy else ())])


def _rows_with(control: str, cases: Sequence[Case]) -> list[int]:
    """The cases that have a source for the control."""
    everyone = control in ("", SAME_NORM, COPY)
    return [i for i, case in enumerate(cases) if everyone or control in case.strangers]


def _patch_batch(
    model: LanguageModel,
    cases: Sequence[Case],
    bound: TokenReadout,
    nodes: NodesAt,
    beside: Beside,
    sources: Sources,
) -> Iterator[Scored]:
    """All patches of one batch. The targets are read once and serve every node and position;
    patches of one layer run together, from that layer on.
    """
    everyone, n_layers = list(range(len(cases))), model.dims.n_layers
    donors = _donors(cases, nodes, beside, sources)
    goals = _Goals(donors[""].logits.float().log_softmax(-1))
    scores = sources.scores([case.source for case in cases])
    yield (None, "source", ""), {"scores": scores, "kl": torch.zeros(len(cases))}
    starts = {at: [int(case.moves[at, ""][1][0]) for case in cases] for at in nodes}
    first = [min(of_case) for of_case in zip(*starts.values(), strict=True)]
    targets = Prefix(model, [case.target for case in cases], first)
    clean = targets.clean if bound.whole else targets.run([], further=True)
    if beside.kl_target:
        goals = goals._replace(target=clean.logits.float().log_softmax(-1))
    yield (None, "target", ""), goals.measure(clean, bound, everyone)
    for position, own in nodes.items():
        prefix = targets.later(starts[position])
        if beside.copy:
            whole = _Arm([Node(site) for site in _copied(model)], position, COPY, everyone)
            yield from _patch_together(prefix, cases, [whole], donors, bound, goals)
        first_run = {node: begins_at(node.site, n_layers=n_layers) for node in own}
        for layer in sorted(set(first_run.values())):
            arms = [
                _Arm([node], position, control, _rows_with(control, cases))
                for node in own
                if first_run[node] == layer
                for control in donors
                if control != COPY
            ]
            for together in _within(arms, prefix.rows_at_once):
                yield from _patch_together(prefix, cases, together, donors, bound, goals)


def _donors(
    cases: Sequence[Case], nodes: NodesAt, beside: Beside, sources: Sources
) -> dict[str, Donor]:
    """What the sources hold, by control."""
    own = sources.donor([case.source for case in cases])
    found = {"": own}
    for control in dict.fromkeys(control for case in cases for control in case.strangers):
        mine = _rows_with(control, cases)
        found[control] = sources.donor([cases[row].strangers[control] for row in mine])
    if beside.noise is not None:
        patched = {node.site: None for own_nodes in nodes.values() for node in own_nodes}
        found[SAME_NORM] = own.of_same_norm(patched, beside.noise)
    return found | ({COPY: own} if beside.copy else {})


def _copied(model: LanguageModel) -> list[Site]:
    """The sites that hold everything at a token: the stream below all blocks and behind each."""
    layers = range(model.dims.n_layers)
    return [Site("resid_pre", 0), *(Site("resid_post", layer) for layer in layers)]


def _patch_together(
    prefix: Prefix,
    cases: Sequence[Case],
    arms: Sequence[_Arm],
    donors: Mapping[str, Donor],
    bound: TokenReadout,
    goals: _Goals,
) -> Iterator[Scored]:
    """Several patches in one pass, each in rows of its own."""
    rows = [row for arm in arms for row in arm.rows]
    lengths = [len(cases[row].target.tokens) for row in rows]
    first, patches = 0, []
    for arm in arms:
        moves = [cases[row].moved(arm.position, arm.control) for row in arm.rows]
        source = donors[arm.control]
        patches += [transplant(node, source, moves, lengths, first) for node in arm.nodes]
        first += len(arm.rows)
    found = prefix.run(patches, rows=rows, further=not bound.whole)
    sizes = [len(arm.rows) for arm in arms]
    parts = {name: one.split(sizes) for name, one in goals.measure(found, bound, rows).items()}
    for at, arm in enumerate(arms):
        yield arm.key, {name: own[at] for name, own in parts.items()}


def _within(arms: Sequence[_Arm], most: int) -> Iterator[list[_Arm]]:
    """`arms` in their order, as many together as have at most `most` rows, and at least one."""
    together: list[_Arm] = []
    for arm in arms:
        if together and sum(len(one.rows) for one in together) + len(arm.rows) > most:
            yield together
            together = []
        together.append(arm)
    if together:
        yield together


def _kl(
    logits: Float[Tensor, "row d_vocab"], goal: Float[Tensor, "row d_vocab"]
) -> Float[Tensor, " row"]:
    """KL(p || q) of the next-token distributions, p out of `logits`, q given as
    log-probabilities.
    """
    log_p = logits.float().log_softmax(-1)
    return (log_p.exp() * (log_p - goal)).sum(-1)
