"""Knock-outs: heads, neurons and whole sublayers set to something else while the model reads, many
sets of them per pass.

What they are set to is what they are in the text's twin (`resample`), or a constant of `STAND_INS`
for each class of positions. What stands before a text (BOS) is left alone: its activations are like
no other's. Two other changes stand beside: a part may be multiplied (`Scaled`), or moved as far as
its stand-in lies away, in a random direction (`Turned`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.alignment import align
from interp.causal.bench import Bench, Effects, Knockout, Scaled, Turned
from interp.causal.contributions import KINDS
from interp.causal.edits import Edit, Selected, exchange, scale_by, where_chosen
from interp.causal.forward import run_forward
from interp.causal.interventions import Intervention
from interp.causal.matching import width
from interp.causal.plan_runs import ChunkTexts, EditRows, Planned, encode_bench, run_plans
from interp.causal.stand_ins import STAND_INS, Constants
from interp.causal.sublayers import PLACES
from interp.defaults import STAND_IN
from interp.errors import InternalError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.sites import Site


def measure(
    bench: Bench,
    plans: Sequence[Knockout],
    *,
    mode: str = STAND_IN,
    reach: str = "all",
    rivals: bool = False,
) -> Effects:
    """The effects of each plan on each of its pairs, many plans per forward pass; `mode` is a key
    of `STAND_INS`, `reach` one of `interp.causal.plan_runs.REACHES`. `rivals`: the other
    emotions' words are read, too.

    Raises `InternalError` for a plan that names a component twice, `UsageError` for one that
    the model lacks, or where an edit does not act.
    """
    for plan in plans:
        _check(plan, bench.model)
    touched = touched_sites(plans)
    require(bench.model, "ablation", touched)
    constants = STAND_INS[mode]
    texts = encode_bench(bench, from_edit=constants is None, reach=reach)
    fixed = constants and constants(bench.model, (*texts.own, *texts.twins), touched)

    def prepare(chunk: ChunkTexts) -> EditRows:
        values = _values(bench.model, chunk, touched, fixed)

        def edit_rows(rows: list[int], of_plan: list[int]) -> list[Intervention]:
            mine = [plans[p] for p in of_plan]
            return change_rows(bench.model, mine, values, rows, chunk.may[rows])

        return edit_rows

    listed = [
        Planned(plan.pairs, min((site.layer for site in touched_sites([plan])), default=0))
        for plan in plans
    ]
    return run_plans(bench, texts, listed, prepare, told=f"ablating ({mode})", rivals=rivals)


class StandInValues(NamedTuple):
    """What replaces the activations of some texts: `values` per site, of which `place` tells the
    number that belongs at a text's position.
    """

    values: Mapping[Site, Float[Tensor, " value *site"]]
    place: Int[Tensor, "text pos"]


def _values(
    model: LanguageModel, chunk: ChunkTexts, touched: Sequence[Site], fixed: Constants | None
) -> StandInValues:
    """The values `fixed` by class, or, without these, what the twins hold at the sites, at the
    tokens that a change may put in.
    """
    if fixed is not None:
        return StandInValues(fixed, chunk.classes.clamp(min=0))
    captured = run_forward(model, chunk.twins, read=touched).sites
    wide = max(len(twin.tokens) for twin in chunk.twins)
    place = torch.zeros_like(chunk.classes)
    for row, (text, twin) in enumerate(zip(chunk.own, chunk.twins, strict=True)):
        source = align(twin.tokens, text.tokens).source_of
        place[row, : len(source)] = torch.from_numpy(source) + row * wide
    used, numbers = torch.unique(place[chunk.may], return_inverse=True)
    place[chunk.may] = numbers
    # one site at a time, or memory would hold what is never used, too
    values = {site: captured.pop(site).flatten(0, 1)[used] for site in touched}
    return StandInValues(values, place.where(chunk.may, 0))


def change_rows(
    model: LanguageModel,
    plans: Sequence[Knockout],
    stand_in: StandInValues,
    rows: Sequence[int],
    may: Bool[Tensor, "row pos"],
) -> list[Intervention]:
    """The interventions of one pass, whose row r is the text `rows[r]` of `stand_in` under
    `plans[r]`, where it `may` be changed.
    """
    place = stand_in.place[list(rows)]
    return [
        Intervention(site, _edit(plans, site, stand_in.values[site], place, units), may)
        for site, units in _units(plans, model).items()
    ]


def _edit(
    plans: Sequence[Knockout], site: Site, values: Tensor, place: Tensor, units: Tensor
) -> Edit:
    """Each row's change at a site: the stand-in's value, or what its plan has instead."""
    edit = exchange(values, place, units=units)
    instead = [plan.instead for plan in plans]
    if any(isinstance(one, Scaled) for one in instead):
        edit = _scaling(edit, instead, units)
    if any(isinstance(one, Turned) for one in instead) and site.name in PLACES.values():
        edit = _turning(edit, instead, site, values.shape[-1])
    return edit


Instead = Sequence[Scaled | Turned | None]
"""What each row's plan has instead of the stand-in."""


def _scaling(edit: Edit, instead: Instead, units: Tensor) -> Edit:
    """`edit`, but for the rows that are scaled: there the chosen units times the row's factor."""
    scaled = torch.tensor([isinstance(one, Scaled) for one in instead])
    times = scale_by([one.factor if isinstance(one, Scaled) else 1.0 for one in instead])

    def either(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        return _by_row(scaled, where_chosen(units, times(x, at), x, at), edit(x, at), at)

    return either


def _turning(edit: Edit, instead: Instead, site: Site, wide: int) -> Edit:
    """`edit`, but for the rows that are turned: there as far, in the row's random direction."""
    turned = torch.tensor([isinstance(one, Turned) for one in instead])
    random = torch.zeros(len(instead), wide)
    for row, one in enumerate(instead):
        if isinstance(one, Turned):
            random[row] = _random_unit(wide, site, one.seed)

    def either(x: Float[Tensor, " token d_model"], at: Selected) -> Float[Tensor, " token d_model"]:
        new = edit(x, at)
        far = (new.float() - x.float()).norm(dim=-1, keepdim=True)
        moved = (x.float() + far * random[at.row.cpu()].to(x.device)).to(x.dtype)
        return _by_row(turned, moved, new, at)

    return either


def _by_row(chosen: Bool[Tensor, " row"], one: Tensor, other: Tensor, at: Selected) -> Tensor:
    """`one` at the tokens of the rows that are chosen, else the `other`."""
    mine = chosen.to(one.device)[at.row]
    return torch.where(mine.view(-1, *[1] * (one.ndim - 1)), one, other)


def _random_unit(wide: int, site: Site, seed: int) -> Float[Tensor, " width"]:
    """A random direction of a site, the same for the same seed."""
    place = list(PLACES.values()).index(site.name)
    draw = torch.Generator().manual_seed(1_000_003 * seed + len(PLACES) * site.layer + place)
    noise = torch.randn(wide, generator=draw)
    return noise / noise.norm()


def touched_sites(plans: Sequence[Knockout]) -> tuple[Site, ...]:
    """The sites at which any plan knocks something out."""
    found: dict[Site, None] = {}
    for plan in plans:
        found |= dict.fromkeys(Site(one.name, one.layer) for one in plan.components)
        kept = plan.kept or {}
        found |= dict.fromkeys(site for site, units in kept.items() if not units.all())
    return tuple(found)


def _units(plans: Sequence[Knockout], model: LanguageModel) -> dict[Site, Tensor]:
    """For each site that any plan touches, which units are knocked out in which row."""
    chosen = {
        site: torch.zeros(len(plans), width(site.name, model), dtype=torch.bool)
        for site in touched_sites(plans)
    }
    for row, plan in enumerate(plans):
        for site, units in (plan.kept or {}).items():
            if site in chosen:
                chosen[site][row] = torch.from_numpy(~units)
        for component in plan.components:
            chosen[Site(component.name, component.layer)][row, component.index] = True
    return chosen


def _check(plan: Knockout, model: LanguageModel) -> None:
    twice = [component for component, times in Counter(plan.components).items() if times > 1]
    if twice:
        raise InternalError(f"{twice[0]} is ablated twice in one plan: list each component once.")
    for component in plan.components:
        if not _has(model, component.name, component.layer, component.index + 1):
            raise UsageError(
                f"{model.name} has no {component}: layers and indices count from 0, names are z, "
                "post, attn_out and mlp_out."
            )
        if isinstance(plan.instead, Turned) and component.name in KINDS.values():
            raise InternalError(f"{component} is part of a sublayer: only whole ones are turned.")
    for site, units in (plan.kept or {}).items():
        if site.name in PLACES.values() or not _has(model, site.name, site.layer, len(units)):
            raise UsageError(
                f"{model.name} has no {len(units)} heads or neurons to keep at {site}."
            )


def _has(model: LanguageModel, name: str, layer: int, units: int) -> bool:
    """Whether the model has so many units (heads, neurons, or the whole) there in this layer."""
    return (
        name in (*KINDS.values(), *PLACES.values())
        and 0 <= layer < model.dims.n_layers
        and 0 < units <= width(name, model)
    )
