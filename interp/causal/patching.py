"""Activation patching between twins: which activation, where, carries the emotion from one text to the other.

1. Run the source and the target with the readout's suffix; keep the source's activations at the swept sites.
2. Run the target again with one site's activation, at the text's last token or at the edit, exchanged for the source's.
3. Compare the readouts: restoration = (LD_patched - LD_target) / (LD_source - LD_target), 0 = nothing moved, 1 = all of it.
`denoise` patches the affective text into the neutral one (is it sufficient?), `noise` the neutral into the affective (is it
necessary?). The control patches from a random text of the same kind and emotion but another scenario: what it restores is the
emotion without the story. Heimersheim & Nanda 2024; intervals are over scenarios, those of restoration Fieller's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.edits import replace
from interp.causal.interventions import Intervention
from interp.causal.passes import Encoded, batches, encode, run
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout, TokenReadout
from interp.causal.restoration import CONTROL, Key, effect_rows, warn_of_inverted
from interp.causal.twins import align, map_positions, strangers
from interp.errors import StatisticsError, UsageError
from interp.models import LanguageModel
from interp.models.quantised import warn_of_rounding
from interp.progress import track
from interp.sites import Site, expand
from stimuli.battery import Pair

METHOD = "activation_patching"
MODES = ("denoise", "noise")
POSITIONS = ("last", "edit")
Moves = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
"""Source positions and the target positions that they go to."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A target, its twin as source, and a stranger as the control's source (None: the emotion has no other group)."""

    pair: Pair
    target: Encoded
    source: Encoded
    stranger: Encoded | None
    moves: dict[tuple[str, str], Moves]


def patch_pairs(
    model: LanguageModel,
    pairs: Sequence[Pair],
    readout: Readout,
    *,
    sites: Sequence[str] = ("resid_post",),
    positions: Sequence[str] = POSITIONS,
    modes: Sequence[str] = MODES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of a patching sweep: metrics `restoration`, `logit_diff` (nats) and `kl` (nats, of the patched run to the source)
    for each site, position, mode, control ("" or `random_source`) and emotion, and for all emotions together (`all`).

    Rows without a site and with metric `total_effect` give mean(LD_source - LD_target), with columns
    `p` (that the emotional text makes its own words likelier, by sign flips of scenarios),
    `p_corrected` over the emotions, and `effect`: "expected", "none", "inverted" or "too few" (fewer
    than 5 scenarios). Only where it is as expected is there something to restore, and a restoration
    reported; inverted ones are warned of. `sites` are texts as `interp.sites.expand` reads them.
    Warns on a quantised model.
    Raises `UsageError` for an unknown position, mode or site, or an emotion without words; `StatisticsError` for no pairs;
    `DataError` for twins of the same tokens.
    """
    _require(positions, POSITIONS, "position")
    _require(modes, MODES, "mode")
    if not pairs:
        raise StatisticsError("patching needs at least one pair of twins, and none was given.")
    if model.quantised:
        warn_of_rounding(model.provenance, "patching")
    swept = expand(sites, n_layers=model.dims.n_layers)
    bound = readout.bind(model)
    for emotion in {pair.affective.emotion for pair in pairs}:
        bound.column(emotion)
    affective = encode(model, [pair.affective for pair in pairs], readout)
    neutral = encode(model, [pair.neutral for pair in pairs], readout)
    other = strangers(pairs, seed=seed)
    rows: list[dict[str, Any]] = []
    for mode in modes:
        source, target = (affective, neutral) if mode == "denoise" else (neutral, affective)
        cases = [_case(pair, i, source, target, int(other[i])) for i, pair in enumerate(pairs)]
        cells = _sweep(model, cases, bound, swept, positions)
        rows += [{**row, "mode": mode} for row in _rows(cells, cases, bound, 1 if mode == "denoise" else -1)]
    warn_of_inverted(rows)
    return rows


def _case(pair: Pair, i: int, source: Sequence[Encoded], target: Sequence[Encoded], other: int) -> _Case:
    """Which source token goes to which target token, for the twin and for the stranger, at each position."""
    twins = align(source[i].story, target[i].story)
    edit = np.arange(*twins.target_edit)
    moves = {
        ("last", ""): (np.array([source[i].end]), np.array([target[i].end])),
        ("edit", ""): (twins.source_of[edit], edit),
    }
    if other >= 0:
        foreign = align(source[other].story, target[other].story).source_edit
        mapped = map_positions(len(target[i].story), foreign, twins.target_edit, len(source[other].story))
        moves["last", CONTROL] = (np.array([source[other].end]), np.array([target[i].end]))
        moves["edit", CONTROL] = (mapped[edit], edit)
    return _Case(pair, target[i], source[i], source[other] if other >= 0 else None, moves)


Cell = dict[str, Float[np.ndarray, " case *column"]]


def _sweep(
    model: LanguageModel, cases: Sequence[_Case], bound: TokenReadout, sites: Sequence[Site], positions: Sequence[str]
) -> dict[Key, Cell]:
    """Scores and KL of every patch, by (site, position, control), each an array over `cases`, NaN where a case has no stranger.

    The unpatched runs stand under (None, "source" or "target", "").
    """
    cells: dict[Key, Cell] = {}
    behind = [len(case.target.tokens) - int(case.moves["edit", ""][1][0]) for case in cases]
    chunks = batches([case.target for case in cases], sizes=behind)
    for index in track(chunks, "patching", unit="batch"):
        for key, scores, kl in _patch_batch(model, [cases[i] for i in index], bound, sites, positions):
            cell = cells.setdefault(
                key, {"scores": np.full((len(cases), len(bound.emotions)), np.nan), "kl": np.full(len(cases), np.nan)}
            )
            mine = index if key[2] == "" else np.array([i for i in index if cases[i].stranger is not None], dtype=int)
            cell["scores"][mine], cell["kl"][mine] = scores.cpu().numpy(), kl.cpu().numpy()
    return cells


def _patch_batch(
    model: LanguageModel, cases: Sequence[_Case], bound: TokenReadout, sites: Sequence[Site], positions: Sequence[str]
) -> Iterator[tuple[Key, Tensor, Tensor]]:
    """All patches of one batch; the source runs are captured once and serve every site and position."""
    whole = run(model, [case.source for case in cases], read=sites)
    goal = whole.logits.float().log_softmax(-1)
    targets = [case.target for case in cases]
    clean = run(model, targets)
    nothing = torch.zeros(len(cases))
    yield (None, "source", ""), bound.scores(whole.logits), nothing
    yield (None, "target", ""), bound.scores(clean.logits), _kl(clean.logits, goal)
    kept = [place for place, case in enumerate(cases) if case.stranger is not None]
    foreign = run(model, [s for case in cases if (s := case.stranger) is not None], read=sites) if kept else None
    for position in positions:
        prefix = Prefix(model, targets, [int(case.moves[position, ""][1][0]) for case in cases])
        for site in sites:
            for control, captured, chosen in (("", whole, list(range(len(cases)))), (CONTROL, foreign, kept)):
                if captured is None:
                    continue
                moves = [cases[i].moves[position, control] for i in chosen]
                patch = _patch(site, captured.sites[site], moves, [len(targets[i].tokens) for i in chosen])
                logits = prefix.run([patch], rows=chosen).logits
                yield (site, position, control), bound.scores(logits), _kl(logits, goal[chosen])


def _patch(site: Site, source: Tensor, moves: Sequence[Moves], lengths: Sequence[int]) -> Intervention:
    """The intervention that puts, a row, the source's activations at the moves' target positions."""
    mask = torch.zeros(len(moves), max(lengths), dtype=torch.bool)
    values = torch.zeros(len(moves), max(lengths), *source.shape[2:], dtype=source.dtype, device=source.device)
    for row, (taken, put) in enumerate(moves):
        mask[row, torch.from_numpy(put)] = True
        values[row, torch.from_numpy(put).to(source.device)] = source[row, torch.from_numpy(taken).to(source.device)]
    return Intervention(site, replace(values), mask)


def _kl(logits: Float[Tensor, "row d_vocab"], goal: Float[Tensor, "row d_vocab"]) -> Float[Tensor, " row"]:
    """KL(p || q) of the next-token distributions, p out of `logits`, q given as log-probabilities."""
    log_p = logits.float().log_softmax(-1)
    return (log_p.exp() * (log_p - goal)).sum(-1)


def _rows(cells: dict[Key, Cell], cases: Sequence[_Case], bound: TokenReadout, sign: int) -> list[dict[str, Any]]:
    """Rows of one mode; `sign` is that of the effect which the affective text's own words should have (1: it is the source)."""
    labels = [case.pair.affective.emotion for case in cases]
    groups = np.array([case.pair.affective.group for case in cases])
    met = np.array([case.stranger is not None for case in cases])
    measured = {key: {"logit_diff": bound.contrast(cell["scores"], labels), "kl": cell["kl"]} for key, cell in cells.items()}
    return [{"method": METHOD, **row} for row in effect_rows(measured, labels, groups, met=met, sign=sign)]


def _require(given: Sequence[str], known: Sequence[str], what: str) -> None:
    wrong = [word for word in given if word not in known]
    if wrong or not given:
        raise UsageError(f"unknown {what} {', '.join(map(repr, wrong)) or '(none given)'}: choose from {', '.join(known)}.")
