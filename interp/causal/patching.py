"""Activation patching: which activation, where, carries the emotion from one text to the other.

1. Run the source and the target with the readout's suffix; keep the source's activations at the
   swept sites.
2. Run the target again with one site's activation, at the text's last token or at the edit (or at
   other tokens, `interp.causal.patches`), exchanged for the source's.
3. Compare the readouts: restoration = (LD_patched - LD_target) / (LD_source - LD_target), 0 =
   nothing moved, 1 = all of it.
`denoise` patches the affective text into the neutral one (is it sufficient?), `noise` the neutral
into the affective (is it necessary?), `swap` a text of one emotion into one of another
(`interp.causal.swaps`: is it this emotion, or only emotion?). The usual control patches from a
random text of the same kind and emotion but another scenario: what it restores is the emotion
without the story. Heimersheim & Nanda 2024; intervals are over scenarios, those of restoration
Fieller's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.effects import contrast_effects
from interp.causal.forward import encode_stimuli
from interp.causal.nodes import Node
from interp.causal.patch_rows import swap_rows, way_rows
from interp.causal.patched_runs import Beside, Cell, NodeKey, patch_sources, patched_cells
from interp.causal.patches import SWAP, WAYS, Patches
from interp.causal.readout import Readout, TokenReadout
from interp.causal.restoration import (
    CONTROL,
    COPY,
    KL_TARGET,
    OTHER_EMOTION,
    SAME_NORM,
    warn_of_inverted,
)
from interp.causal.sources import Sources
from interp.causal.spans import places_of
from interp.causal.swaps import swap_cases
from interp.causal.transplants import Case, PairTexts, Stranger, make_case
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.quantised import warn_of_rounding
from interp.sites import expand
from stimuli.battery import Pair
from stimuli.splits import of_other_emotions, strangers

PATCHING = "activation_patching"


def patch_pairs(
    model: LanguageModel,
    pairs: Sequence[Pair],
    readout: Readout,
    patches: Patches | None = None,
    *,
    seed: int = 0,
    before: Callable[[Float[np.ndarray, " pair"]], None] | None = None,
) -> list[dict[str, Any]]:
    """Rows of a patching sweep: metrics `restoration`, `logit_diff` (nats) and those of `patches`
    for each of its sites, positions and modes (by default `kl`, of both ways between twins, at
    both positions of `resid_post`), control ("" or one of `patches`) and emotion, and for all
    emotions together (`all`). `swap` adds columns (`interp.causal.patch_rows.swap_rows`).

    Rows without a site and with metric `total_effect` give mean(LD_source - LD_target), with
    columns `p` (that the emotional text makes its own words likelier, by sign flips of scenarios),
    `p_corrected` over the emotions, and `effect`: "expected", "none", "inverted" or "too few"
    (fewer than 5 scenarios). Only where it is as expected is there something to restore, and a
    restoration reported; inverted ones are warned of. Rows without a site whose metric begins with
    `copy_` are of everything exchanged at the position, in all layers. `success` has in column
    `chance` what an answer drawn at random would reach; `noise` has it where the readout has words
    for neutral.

    `before` is told of each pair's total effect (nats) when all texts were read, and nothing was
    patched yet.

    Warns on a quantised model. Raises `UsageError` for an unknown site, a site where an edit is not
    what its name says, or an emotion without words; `StatisticsError` for no pairs, and for a swap
    between texts of one emotion; `DataError` for twins of the same tokens, and for a text that
    lacks a span.
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
    texts = PairTexts(
        pairs,
        encode_stimuli(model, [pair.affective for pair in pairs], readout),
        encode_stimuli(model, [pair.neutral for pair in pairs], readout),
    )
    ways = {mode: _cases(texts, patches, mode, seed) for mode in patches.modes if mode in WAYS}
    swaps = swap_cases(texts, patches, seed=seed) if SWAP in patches.modes else []
    nodes = {position: [Node(site) for site in swept] for position in patches.positions}
    every = [case for cases in (*ways.values(), [swap.case for swap in swaps]) for case in cases]
    sources = patch_sources(model, every, bound, nodes, _beside(patches, seed))
    if before is not None:
        before(_total_effects(texts, bound, sources))

    def cells_of(cases: Sequence[Case]) -> dict[NodeKey, Cell]:
        return patched_cells(model, cases, bound, nodes, _beside(patches, seed), sources)

    rows: list[dict[str, Any]] = []
    for mode, cases in ways.items():
        cells = cells_of(cases)
        own = way_rows(cells, cases, bound, patches.metrics, mode)
        rows += [{"method": PATCHING, **row, "mode": mode} for row in own]
    warn_of_inverted(rows)
    if swaps:
        cells = cells_of([swap.case for swap in swaps])
        own = swap_rows(cells, swaps, bound, patches.metrics)
        warn_of_inverted(own, than="texts of other emotions do")
        rows += [{"method": PATCHING, **row, "mode": SWAP} for row in own]
    return rows


def _total_effects(
    texts: PairTexts, bound: TokenReadout, sources: Sources
) -> Float[np.ndarray, " pair"]:
    """Of each pair the contrast of the emotional text less that of its twin (nats)."""
    both = [*texts.affective, *texts.neutral]
    scores = sources.scores(both, told="effects").double().numpy()
    emotions = [pair.affective.emotion for pair in texts.pairs]
    return contrast_effects(bound, np.split(scores, 2), emotions)


def _beside(patches: Patches, seed: int) -> Beside:
    noise = torch.Generator().manual_seed(seed) if SAME_NORM in patches.controls else None
    return Beside(KL_TARGET in patches.metrics, COPY in patches.metrics, noise)


def _cases(texts: PairTexts, patches: Patches, mode: str, seed: int) -> list[Case]:
    """The pairs as cases of one way."""
    source, target = texts.affective, texts.neutral
    if mode == "noise":
        source, target = target, source
    drawn = {CONTROL: strangers, OTHER_EMOTION: of_other_emotions}
    others = {
        control: draw(texts.pairs, seed=seed)
        for control, draw in drawn.items()
        if control in patches.controls
    }
    cases = []
    for i, pair in enumerate(texts.pairs):
        item = pair.neutral if mode == "denoise" else pair.affective
        met = {
            control: Stranger(source[chosen[i]], target[chosen[i]])
            for control, chosen in others.items()
            if chosen[i] >= 0
        }
        places = places_of(item, target[i], patches.positions, patches.spans)
        cases.append(make_case(pair, source[i], target[i], met, places))
    return cases
