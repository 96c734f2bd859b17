"""The steering sweep: how often the model writes the emotion it is steered to, beside what it
writes otherwise.

1. The prompts are split: half `choose`, half `report`; those of one scenario keep together.
2. Where to steer is chosen on `choose`: each `Place` (a layer's directions, and the positions where
   they are added) is tried at every strength, and the one with the best mean success over emotions
   wins; those trials are kept as half `place`.
3. The winner is run with its controls at every strength on `choose`, and at the best strength
   alone on `report`.
Controls: unsteered text, and for each prompt and strength a random vector as long as what it stands
in for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from interp.causal.edits import add
from interp.causal.forward import Encoded, open_prompts
from interp.causal.generation import write_on
from interp.causal.interventions import Intervention, Where
from interp.causal.pooled import ALL, Arm, success_rows
from interp.causal.steering import SCALES, STEERED_AT, STEERING, acts_at, check_scales, doses
from interp.causal.steps import check_direction, random_like, warn_if_huge, with_length
from interp.directions import Direction
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.models.quantised import warn_of_rounding
from interp.models.texts.conversations import Prompt
from interp.progress import track
from interp.results import TableRows
from interp.shares import wilson
from interp.sites import site_columns
from stimuli.battery import Stimulus

Judge = Callable[[Sequence[str]], list[str | None]]
"""Continuations in, one emotion each out; None for one that it cannot judge (no sentence, no
emotion).
"""


WRITTEN = Decoding(max_new_tokens=20)
"""How continuations are written unless asked otherwise."""


class Place(NamedTuple):
    """A way to steer: a direction per emotion, all of one layer, and the positions where they are
    added.
    """

    directions: Mapping[str, Direction]
    where: Where = STEERED_AT


def sweep(
    model: LanguageModel,
    prompts: Sequence[Prompt | Stimulus],
    places: Sequence[Place],
    judge: Judge,
    *,
    scales: Sequence[float] = SCALES,
    decoding: Decoding = WRITTEN,
) -> TableRows:
    """Rows of steering all prompts towards all emotions: `success` (judged as the target), `valid`
    (judged at all); where there are several `places`, the trials that chose one (half `place`)
    stand first.

    Half `choose` has all scales. The one scale with the best mean success over emotions there (the
    smallest of equals) is run on half `report`, which has rows for it alone, and takes no part in
    any choice. Controls on both: `unsteered` (scale 0), and `random` (for each prompt and scale a
    random vector of its own, as long as what it stands in for). The halves and these vectors are
    drawn from the seed of `decoding`, too. Intervals are Wilson's; of all emotions together
    (`pooled.success_rows`) they are over scenarios: a stimulus has its group, any other prompt is
    one of its own. Raises `UsageError` for scales that are not finite and positive,
    `StatisticsError` for no place, and for fewer than two prompts or scenarios.
    """
    check_scales(scales)
    if not places:
        raise StatisticsError("there is no place to steer at: give at least one.")
    places = [one._replace(directions=with_length(one.directions)) for one in places]
    if model.quantised:
        warn_of_rounding(model.provenance, "steering")
    choose, report = _halves(model, prompts, decoding.seed)
    tried: list[TableRows] = []
    if len(places) > 1:
        arms = [("", float(scale)) for scale in scales]
        tried = [
            list(_judged(model, choose, one, judge, arms=arms, decoding=decoding)) for one in places
        ]
    best = places[_best(tried)] if tried else places[0]
    for direction in best.directions.values():
        check_direction(model, direction)
        warn_if_huge(model, choose.rows, direction.site, max(scales) * direction.length)
    chosen = [
        {**row, "half": "choose"}
        for row in _judged(model, choose, best, judge, arms=doses(scales), decoding=decoding)
    ]
    arms = doses([choose_scale(chosen)])
    again = replace(decoding, seed=decoding.seed + 1)
    reported = _judged(model, report, best, judge, arms=arms, decoding=again)
    trials = [{**row, "half": "place"} for rows in tried for row in rows]
    return trials + chosen + [{**row, "half": "report"} for row in reported]


def _best(tried: Sequence[TableRows]) -> int:
    """The number of the place whose best scale has the highest mean success; of equals the
    first.
    """
    return int(np.argmax([max(_mean_success(rows).values()) for rows in tried]))


def choose_scale(rows: Sequence[Mapping[str, Any]]) -> float:
    """The scale with the highest mean success over emotions on half `choose`; of equals the
    smallest.
    """
    means = _mean_success([row for row in rows if row["half"] == "choose"])
    return max(sorted(means), key=lambda scale: means[scale])


def _mean_success(rows: Sequence[Mapping[str, Any]]) -> dict[float, float]:
    """The mean success over emotions at each scale."""
    steered = [
        row
        for row in rows
        if row["control"] == "" and row["metric"] == "success" and row.get("emotion") != ALL
    ]
    scales = {float(row["scale"]) for row in steered}
    return {
        scale: float(np.mean([row["value"] for row in steered if row["scale"] == scale]))
        for scale in scales
    }


class _Half(NamedTuple):
    """Prompts as tokens, and their scenarios."""

    rows: list[Encoded]
    groups: list[int]


def _halves(
    model: LanguageModel, prompts: Sequence[Prompt | Stimulus], seed: int
) -> tuple[_Half, _Half]:
    """The prompts, their scenarios shuffled and dealt in two."""
    scenario = _scenarios(prompts)
    if len(np.unique(scenario)) < 2:
        raise StatisticsError(
            "a sweep chooses on half of the prompts and reports on the rest: give at least two "
            "prompts of two scenarios."
        )
    order = np.random.default_rng(seed).permutation(int(scenario.max()) + 1)
    halves = [
        [i for one in order[half::2] for i in np.flatnonzero(scenario == one).tolist()]
        for half in (0, 1)
    ]
    choose, report = (
        _Half(open_prompts(model, [prompts[i] for i in half]), scenario[half].tolist())
        for half in halves
    )
    return choose, report


def _scenarios(prompts: Sequence[Prompt | Stimulus]) -> Int[np.ndarray, " prompt"]:
    """The number of each prompt's scenario: a stimulus has its group, any other is one alone."""
    named = [
        (True, one.group) if isinstance(one, Stimulus) else (False, place)
        for place, one in enumerate(prompts)
    ]
    number = {name: code for code, name in enumerate(sorted(set(named)))}
    return np.array([number[name] for name in named], dtype=np.int64)


def _judged(
    model: LanguageModel,
    prompts: _Half,
    at: Place,
    judge: Judge,
    *,
    arms: Sequence[Arm],
    decoding: Decoding,
) -> Iterator[dict[str, Any]]:
    """Rows of the arms on these prompts, an emotion at a time and then all together. All arms of an
    emotion are written together.
    """
    rows, n, rng = prompts.rows, len(prompts.rows), np.random.default_rng(decoding.seed)
    strength = np.repeat([scale for _, scale in arms], n)
    where = "+".join(map(str, at.where)) if isinstance(at.where, tuple) else str(at.where)
    name = getattr(judge, "__name__", "judge")
    told: dict[Arm, dict[str, list[str | None]]] = {arm: {} for arm in arms}
    for direction in at.directions.values():
        check_direction(model, direction)
    for emotion, direction in track(
        list(at.directions.items()), f"steering ({where})", unit="emotion"
    ):
        own = np.tile(direction.step, (n, 1))
        added = np.concatenate(
            [random_like(own, rng) if control == "random" else own for control, _ in arms]
        )
        edits = [Intervention(direction.site, add(added, scale=strength), at.where)]
        every = [*rows] * len(arms)
        verdicts = judge(write_on(model, every, edits, decoding))
        for number, (control, scale) in enumerate(arms):
            mine = told[control, scale][emotion] = verdicts[number * n : (number + 1) * n]
            counts = {"success": mine.count(emotion), "valid": n - mine.count(None)}
            common = {**site_columns(direction.site), "method": STEERING, "emotion": emotion}
            common |= {
                "scale": scale,
                "control": control,
                "where": where,
                "position": acts_at(at.where),
                "judge": name,
            }
            for metric, count in counts.items():
                yield {**common, "metric": metric, **wilson(count, n)._asdict()}
    site = next(iter(at.directions.values())).site
    for row in success_rows(told, prompts.groups):
        yield {
            **site_columns(site),
            "method": STEERING,
            "where": where,
            "position": acts_at(at.where),
            "judge": name,
            **row,
        }
