"""Activation patching between twins: which activation, where, carries the emotion from one text to
the other.

1. Run the source and the target with the readout's suffix; keep the source's activations at the
   swept sites.
2. Run the target again with one site's activation, at the text's last token or at the edit,
   exchanged for the source's.
3. Compare the readouts: restoration = (LD_patched - LD_target) / (LD_source - LD_target), 0 =
   nothing moved, 1 = all of it.
`denoise` patches the affective text into the neutral one (is it sufficient?), `noise` the neutral
into the affective (is it necessary?). The control patches from a random text of the same kind and
emotion but another scenario: what it restores is the emotion without the story. Heimersheim & Nanda
2024; intervals are over scenarios, those of restoration Fieller's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.forward import batches, encode_stimuli
from interp.causal.nodes import Node
from interp.causal.prefix import PREFIX_TOKENS, Prefix
from interp.causal.readout import Readout, TokenReadout
from interp.causal.restoration import CONTROL, Key, effect_rows, warn_of_inverted
from interp.causal.transplants import Case, Donor, make_case, read_sources, transplant
from interp.causal.words import text_scores, word_scores
from interp.errors import StatisticsError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.quantised import warn_of_rounding
from interp.progress import track
from interp.sites import expand
from stimuli.battery import Pair
from stimuli.splits import strangers

PATCHING = "activation_patching"
WAYS = ("denoise", "noise")
POSITIONS = ("last", "edit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """What is put into the twin's run: the activations at `sites` (texts as `interp.sites.expand`
    reads them) and `positions`. `modes` says which way: `denoise` puts the emotional text's into
    the neutral one, `noise` the neutral text's into the emotional one.

    Raises `UsageError` for an unknown position or mode, and for none.
    """

    sites: Sequence[str] = ("resid_post",)
    positions: Sequence[str] = POSITIONS
    modes: Sequence[str] = WAYS

    def __post_init__(self) -> None:
        _require(self.positions, POSITIONS, "position")
        _require(self.modes, WAYS, "mode")


def patch_pairs(
    model: LanguageModel,
    pairs: Sequence[Pair],
    readout: Readout,
    patches: Patches | None = None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of a patching sweep: metrics `restoration`, `logit_diff` (nats) and `kl` (nats, of the
    patched run to the source) for each site, position and mode of `patches` (by default all
    positions and modes of `resid_post`), control ("" or `random_source`) and emotion, and for all
    emotions together (`all`).

    Rows without a site and with metric `total_effect` give mean(LD_source - LD_target), with
    columns `p` (that the emotional text makes its own words likelier, by sign flips of scenarios),
    `p_corrected` over the emotions, and `effect`: "expected", "none", "inverted" or "too few"
    (fewer than 5 scenarios). Only where it is as expected is there something to restore, and a
    restoration reported; inverted ones are warned of. Warns on a quantised model. Raises
    `UsageError` for an unknown site, a site where an edit is not what its name says, or an emotion
    without words; `StatisticsError` for no pairs; `DataError` for twins of the same tokens.
    """
    if not pairs:
        raise StatisticsError("patching needs at least one pair of twins, and none was given.")
    if model.quantised:
        warn_of_rounding(model.provenance, "patching")
    patches = patches or Patches()
    swept = expand(patches.sites, n_layers=model.dims.n_layers)
    require(model, "patching", swept)
    bound = readout.bind(model)
    for emotion in {pair.affective.emotion for pair in pairs}:
        bound.column(emotion)
    affective = encode_stimuli(model, [pair.affective for pair in pairs], readout)
    neutral = encode_stimuli(model, [pair.neutral for pair in pairs], readout)
    other = strangers(pairs, seed=seed)
    rows: list[dict[str, Any]] = []
    for mode in patches.modes:
        source, target = (affective, neutral) if mode == "denoise" else (neutral, affective)
        cases = [make_case(pair, i, source, target, int(other[i])) for i, pair in enumerate(pairs)]
        cells = patched_cells(
            model, cases, bound, [Node(site) for site in swept], patches.positions
        )
        rows += [
            {**row, "mode": mode}
            for row in _rows(cells, cases, bound, 1 if mode == "denoise" else -1)
        ]
    warn_of_inverted(rows)
    return rows


Cell = dict[str, Float[np.ndarray, " case *column"]]
NodeKey = tuple[Node | None, str, str]
"""Node, position and control of a cell; without a node the unpatched runs, "source" and "target".
"""

Scored = tuple[NodeKey, Float[Tensor, "row emotion"], Float[Tensor, " row"]]
"""A cell, and the readout's scores and the KL (nats) of its cases."""


class _Arm(NamedTuple):
    """One patch: of a node at a position, from the twin or the control's source, into some of a
    batch's cases.
    """

    node: Node
    position: str
    control: str
    rows: list[int]


def patched_cells(
    model: LanguageModel,
    cases: Sequence[Case],
    bound: TokenReadout,
    nodes: Sequence[Node],
    positions: Sequence[str],
) -> dict[NodeKey, Cell]:
    """Scores and KL of every patch, by (node, position, control), each an array over `cases`, NaN
    where a case has no stranger.

    The unpatched runs stand under (None, "source" or "target", "").
    """
    cells: dict[NodeKey, Cell] = {}
    behind = [len(case.target.tokens) - int(case.moves["edit", ""][1][0]) for case in cases]
    chunks = batches([case.target for case in cases], budget=PREFIX_TOKENS, sizes=behind)
    done = (
        (index, scored)
        for index in chunks
        for scored in _patch_batch(model, [cases[i] for i in index], bound, nodes, positions)
    )
    arms = 1 + any(case.stranger is not None for case in cases)
    total = len(chunks) * (2 + len(nodes) * len(positions) * arms)
    for index, (key, scores, kl) in track(done, "patching", unit="patch", total=total):
        cell = cells.setdefault(
            key,
            {
                "scores": np.full((len(cases), len(bound.emotions)), np.nan),
                "kl": np.full(len(cases), np.nan),
            },
        )
        mine = (
            index
            if key[2] == ""
            else np.array([i for i in index if cases[i].stranger is not None], dtype=int)
        )
        cell["scores"][mine], cell["kl"][mine] = scores.cpu().numpy(), kl.cpu().numpy()
    return cells


def _patch_batch(
    model: LanguageModel,
    cases: Sequence[Case],
    bound: TokenReadout,
    nodes: Sequence[Node],
    positions: Sequence[str],
) -> Iterator[Scored]:
    """All patches of one batch. The source runs are captured once and serve every node and
    position; patches of one layer run together, from that layer on.
    """
    sites = list(dict.fromkeys(node.site for node in nodes))
    everyone = list(range(len(cases)))
    kept = [i for i in everyone if cases[i].stranger is not None]
    sources = {"": read_sources(model, cases, everyone, "", sites)}
    goal = sources[""].logits.float().log_softmax(-1)
    yield (
        (None, "source", ""),
        _source_scores(model, cases, sources[""].logits, bound),
        torch.zeros(len(cases)),
    )
    if kept:
        sources[CONTROL] = read_sources(model, cases, kept, CONTROL, sites)
    targets = [case.target for case in cases]
    layers = sorted({site.layer for site in sites})
    for position in positions:
        prefix = Prefix(model, targets, [int(case.moves[position, ""][1][0]) for case in cases])
        if position == positions[0]:
            clean = prefix.clean if bound.whole else prefix.run([], further=True)
            yield (None, "target", ""), word_scores(clean, bound), _kl(clean.logits, goal)
        for layer in layers:
            arms = [
                _Arm(node, position, control, everyone if control == "" else kept)
                for node in nodes
                if node.site.layer == layer
                for control in sources
            ]
            for together in _within(arms, prefix.rows_at_once):
                yield from _patch_together(prefix, cases, together, sources, bound, goal)


def _patch_together(
    prefix: Prefix,
    cases: Sequence[Case],
    arms: Sequence[_Arm],
    sources: Mapping[str, Donor],
    bound: TokenReadout,
    goal: Float[Tensor, "case d_vocab"],
) -> Iterator[Scored]:
    """Several patches in one pass, each in rows of its own."""
    rows = [row for arm in arms for row in arm.rows]
    lengths = [len(cases[row].target.tokens) for row in rows]
    first, patches = 0, []
    for arm in arms:
        moves = [cases[row].moves[arm.position, arm.control] for row in arm.rows]
        patches.append(transplant(arm.node, sources[arm.control], moves, lengths, first))
        first += len(arm.rows)
    found = prefix.run(patches, rows=rows, further=not bound.whole)
    scores, kl = word_scores(found, bound), _kl(found.logits, goal[rows])
    sizes = [len(arm.rows) for arm in arms]
    for arm, own_scores, own_kl in zip(arms, scores.split(sizes), kl.split(sizes), strict=True):
        yield (arm.node, arm.position, arm.control), own_scores, own_kl


def _source_scores(
    model: LanguageModel,
    cases: Sequence[Case],
    logits: Float[Tensor, "case d_vocab"],
    bound: TokenReadout,
) -> Float[Tensor, "case emotion"]:
    """The readout's scores of the sources, whose `logits` say everything where all words are one
    token.
    """
    return (
        bound.scores(logits)
        if bound.whole
        else text_scores(model, [case.source for case in cases], bound)
    )


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


def _rows(
    cells: dict[NodeKey, Cell], cases: Sequence[Case], bound: TokenReadout, sign: int
) -> list[dict[str, Any]]:
    """Rows of one mode; `sign` is that of the effect which the affective text's own words should
    have (1: it is the source).
    """
    labels = [case.pair.affective.emotion for case in cases]
    groups = np.array([case.pair.affective.group for case in cases])
    met = np.array([case.stranger is not None for case in cases])
    measured: dict[Key, dict[str, np.ndarray]] = {}
    for (node, position, control), cell in cells.items():
        contrast = bound.contrast(cell["scores"], labels)
        key = (None if node is None else node.site, position, control)
        measured[key] = {"logit_diff": contrast, "kl": cell["kl"]}
    return [
        {"method": PATCHING, **row}
        for row in effect_rows(measured, labels, groups, met=met, sign=sign)
    ]


def _require(given: Sequence[str], known: Sequence[str], what: str) -> None:
    wrong = [word for word in given if word not in known]
    if wrong or not given:
        raise UsageError(
            f"unknown {what} {', '.join(map(repr, wrong)) or '(none given)'}: choose from "
            f"{', '.join(known)}."
        )
