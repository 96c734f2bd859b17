"""Ablation of a direction: what is lost when the stream can no longer hold an emotion along its
direction.

x - ((x - c) . v) v at every token of the affective text, after one layer or at all of them. With c
the mean of the neutral texts (`mean`, the default), what is left along v is what a neutral text
holds; with c = 0 (`project`, Arditi et al. 2024) nothing is, not even what all texts have there.
Two controls, as long as v (all are unit vectors): `random` does the same to a random direction, of
which the stream may hold little; `same_size` takes away as much as the ablation does in a random
direction r, x - ((x - c) . v) r. p is the larger of the two.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.bench import Bench, Effects
from interp.causal.compared import Aim, ChosenPlan, Drawn, compared_rows, outcomes_of
from interp.causal.edits import Edit, Selected
from interp.causal.forward import encode_stimuli
from interp.causal.interventions import Intervention
from interp.causal.losses import loss_outcomes, losses_under, neutral_rows
from interp.causal.plan_runs import ChunkTexts, EditRows, Planned, encode_bench, run_plans
from interp.causal.ranked_parts import warn_without_length
from interp.causal.stand_ins import mean_values, position_classes
from interp.errors import UsageError
from interp.models.checks.reliance import require
from interp.results import TableRows
from interp.sites import STREAM, Site

DIRECTION_ABLATION = "direction_ablation"
EVERY_LAYER = "all"

DIRECTION_MODES = ("mean", "project")
"""What is left along an ablated direction: the neutral texts' mean, or nothing."""

_Centres = Mapping[Site, Float[Tensor, "3 d_model"]]
"""c at each site, for each class of positions."""


class DirectionTrial(NamedTuple):
    """After which `layers` a direction is ablated, each by itself; whether at all layers, too
    (`everywhere`: what the first block reads, and what every block leaves); which of
    `DIRECTION_MODES`; the random directions of each kind, and their seed.
    """

    layers: Sequence[int] = ()
    everywhere: bool = True
    mode: str = DIRECTION_MODES[0]
    n_draws: int = 20
    seed: int = 0


class _Removal(NamedTuple):
    """x - (x . read) write at the sites, in the texts of these pairs."""

    sites: tuple[Site, ...]
    read: Float[np.ndarray, " d_model"]
    write: Float[np.ndarray, " d_model"]
    pairs: tuple[int, ...]


def ablate_directions(bench: Bench, trial: DirectionTrial | None = None) -> TableRows:
    """Rows of ablating each emotion's direction, wherever `trial` says, on every target emotion.

    Metrics: `label_logprob_change` (nats); `projection_drop` (natural lengths), only where the
    direction is read behind the one layer at which it was ablated, and so may have come back; and
    `neutral_loss_rise` (nats per token of the pairs' neutral texts). Column `reach` is the layer,
    or `all`. Raises `UsageError` for a layer that the model lacks, for another mode, for no place
    and no draw, and where an edit of the stream does not act.
    """
    trial = trial or DirectionTrial()
    places = _places(bench, trial)
    sites = sorted({site for named in places.values() for site in named})
    require(bench.model, "ablation", sites)
    warn_without_length(bench)
    removals, chosen = _planned(bench, places, trial)
    centres = _centres(bench, sites, trial.mode)
    effects = _effects(bench, removals, centres)
    losses = _losses(bench, removals, centres)
    common = {"method": DIRECTION_ABLATION, "mode": trial.mode}
    rows: TableRows = []
    for reach in places:
        mine = [one for one in chosen if one.columns["reach"] == reach]
        for outcomes in (
            outcomes_of(bench, effects, _aim(bench, reach)),
            loss_outcomes(bench, losses),
        ):
            rows += compared_rows(outcomes, mine, common)
    return [{**row, **_where(row["reach"])} for row in rows]


def _places(bench: Bench, trial: DirectionTrial) -> Mapping[str, tuple[Site, ...]]:
    """The sites of each place, by its name in column `reach`."""
    n_layers = bench.model.dims.n_layers
    odd = [layer for layer in trial.layers if not 0 <= layer < n_layers]
    if odd or trial.n_draws < 1 or not (trial.layers or trial.everywhere):
        raise UsageError(
            f"layers {odd or tuple(trial.layers)}, {trial.n_draws} random directions: "
            f"{bench.model.name} has layers 0..{n_layers - 1}; name one or take all, and draw at "
            "least one."
        )
    if trial.mode not in DIRECTION_MODES:
        known = ", ".join(DIRECTION_MODES)
        raise UsageError(f"unknown mode {trial.mode!r} of a direction: choose one of {known}.")
    places: dict[str, tuple[Site, ...]] = {
        str(layer): (Site(STREAM, layer),) for layer in trial.layers
    }
    if trial.everywhere:
        every = tuple(Site(STREAM, layer) for layer in range(n_layers))
        places[EVERY_LAYER] = (Site("resid_pre", 0), *every)
    return places


def _where(reach: str) -> dict[str, object]:
    return {"site": STREAM, "layer": np.nan if reach == EVERY_LAYER else int(reach)}


def _aim(bench: Bench, reach: str) -> Aim:
    """The projection says something where it is read behind the ablation only."""
    read = min(direction.site.layer for direction in bench.directions.values())
    behind = reach != EVERY_LAYER and int(reach) < read
    return Aim(DIRECTION_ABLATION, "projection_drop" if behind else "", -1, "project")


def _planned(
    bench: Bench, places: Mapping[str, tuple[Site, ...]], trial: DirectionTrial
) -> tuple[list[_Removal], list[ChosenPlan]]:
    """All removals, the first of which removes nothing, and where each emotion has its own."""
    random = np.random.default_rng(trial.seed)
    every, zero = tuple(range(len(bench.pairs))), np.zeros(bench.model.dims.d_model)
    removals, chosen = [_Removal((), zero, zero, every)], []
    for emotion in dict.fromkeys(bench.emotions):
        v = np.asarray(bench.directions[emotion].vector, dtype=np.float64)
        own = tuple(i for i in every if bench.emotions[i] == emotion)
        noise = random.standard_normal((trial.n_draws, len(v)))
        units = noise / np.linalg.norm(noise, axis=1, keepdims=True)
        for reach, sites in places.items():
            first = len(removals)
            removals.append(_Removal(sites, v, v, every))
            removals += [_Removal(sites, u, u, own) for u in units]
            removals += [_Removal(sites, v, u, own) for u in units]
            middle = first + 1 + len(units)
            drawn = {
                "random": Drawn(slice(first + 1, middle)),
                "same_size": Drawn(slice(middle, len(removals))),
            }
            chosen.append(ChosenPlan(emotion, first, drawn, {}, {"reach": reach}))
    return removals, chosen


def _centres(bench: Bench, sites: Sequence[Site], mode: str) -> _Centres:
    """c at each site: the mean over the neutral texts, or zeros."""
    if mode == "project":
        return {site: torch.zeros(3, bench.model.dims.d_model) for site in sites}
    neutral = encode_stimuli(bench.model, [pair.neutral for pair in bench.pairs], bench.readout)
    return {site: x.cpu() for site, x in mean_values(bench.model, neutral, sites).items()}


def _effects(bench: Bench, removals: Sequence[_Removal], centres: _Centres) -> Effects:
    def prepare(chunk: ChunkTexts) -> EditRows:
        def edit_rows(rows: list[int], of_plan: list[int]) -> list[Intervention]:
            mine = [removals[p] for p in of_plan]
            return _edits(mine, centres, chunk.classes[rows], chunk.may[rows])

        return edit_rows

    plans = [
        Planned(one.pairs, min((site.layer for site in one.sites), default=0)) for one in removals
    ]
    texts = encode_bench(bench, from_edit=False)
    return run_plans(bench, texts, plans, prepare, told="ablating directions")


def _losses(
    bench: Bench, removals: Sequence[_Removal], centres: _Centres
) -> Float[np.ndarray, "plan pair"]:
    """The loss of each pair's neutral text under each removal."""
    rows = neutral_rows(bench)
    classes = position_classes(rows)

    def edit_rows(of_text: list[int], of_plan: list[int]) -> list[Intervention]:
        mine = [removals[p] for p in of_plan]
        return _edits(mine, centres, classes[of_text], classes[of_text] >= 0)

    return losses_under(bench.model, rows, [one.pairs for one in removals], edit_rows)


def _edits(
    removals: Sequence[_Removal],
    centres: _Centres,
    classes: Int[Tensor, "row pos"],
    may: Bool[Tensor, "row pos"],
) -> list[Intervention]:
    """The interventions of one pass, whose row r is under `removals[r]`, where it `may` be
    changed.
    """
    sites = dict.fromkeys(site for one in removals for site in one.sites)
    found = []
    for site in sites:
        here = torch.tensor([site in one.sites for one in removals])
        edit = _removing(removals, centres[site], classes.clamp(min=0))
        found.append(Intervention(site, edit, may & here[:, None]))
    return found


def _removing(
    removals: Sequence[_Removal],
    centre: Float[Tensor, "3 d_model"],
    classes: Int[Tensor, "row pos"],
) -> Edit:
    """x - ((x - c) . read) write, with the vectors of each row and the c of each class."""
    read, write = (
        torch.from_numpy(np.stack([getattr(one, name) for one in removals])).float()
        for name in ("read", "write")
    )
    held = read @ centre.float().T  # c . read, of each row and class

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        wide, row = x.float(), at.row.cpu()
        own = held[row, classes[row, at.position.cpu()]].to(x.device)
        along = (wide * read[row].to(x.device)).sum(-1) - own
        return (wide - along[:, None] * write[row].to(x.device)).to(x.dtype)

    return edit
