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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from interp.causal.edits import add
from interp.causal.forward import Encoded, open_prompts
from interp.causal.generation import write_on
from interp.causal.interventions import Intervention, Where
from interp.causal.pooled import ALL, Arm
from interp.causal.steered_texts import (
    Judges,
    Written,
    judged,
    prompt_text,
    share_rows,
    told_where,
    written_rows,
)
from interp.causal.steering import SCALES, STEERED_AT, check_scales, doses
from interp.causal.steps import check_direction, random_like, warn_if_huge, with_length
from interp.directions import Direction
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.models.quantised import warn_of_rounding
from interp.models.texts.conversations import Prompt
from interp.progress import track
from interp.results import TableRows
from stimuli.battery import Stimulus

WRITTEN = Decoding(max_new_tokens=20)
"""How continuations are written unless asked otherwise."""


class Place(NamedTuple):
    """A way to steer: a direction per emotion, all of one layer, and the positions where they are
    added.
    """

    directions: Mapping[str, Direction]
    where: Where = STEERED_AT


class Swept(NamedTuple):
    """What a sweep found: `rows` of shares, and `texts`, one row per text and judge."""

    rows: TableRows
    texts: TableRows


def sweep(
    model: LanguageModel,
    prompts: Sequence[Prompt | Stimulus],
    places: Sequence[Place],
    judges: Judges,
    *,
    scales: Sequence[float] = SCALES,
    decoding: Decoding = WRITTEN,
) -> Swept:
    """Steering all prompts towards all emotions: rows of `success` (judged as the target) and
    `valid` (judged at all) by each judge, and every text (`steered_texts.written_rows`). Where
    there are several `places`, the trials that chose one (half `place`) stand first.

    Half `choose` has all scales. The one scale with the best mean success over emotions there by
    the first of the `judges` (the smallest of equals) is run on half `report`, which has rows for
    it alone, and takes no part in any choice. Controls on both: `unsteered` (scale 0), and `random`
    (for each prompt and scale a random vector of its own, as long as what it stands in for). The
    halves and these vectors are drawn from the seed of `decoding`, too. Intervals are over
    scenarios: a stimulus has its group, any other prompt is one of its own. Raises `UsageError` for
    scales that are not finite and positive, `StatisticsError` for no place, no judge, and for fewer
    than two prompts or scenarios.
    """
    check_scales(scales)
    if not places or not judges:
        raise StatisticsError(
            f"there is no {'place to steer at' if judges else 'judge'}: give at least one."
        )
    places = [one._replace(directions=with_length(one.directions)) for one in places]
    if model.quantised:
        warn_of_rounding(model.provenance, "steering")
    choose, report = split_prompts(model, prompts, decoding.seed)
    tried: list[Swept] = []
    if len(places) > 1:
        arms = [("", float(scale)) for scale in scales]
        tried = [_tried(model, choose, one, judges, arms=arms, decoding=decoding) for one in places]
    best = places[_best(tried)] if tried else places[0]
    for direction in best.directions.values():
        check_direction(model, direction)
        warn_if_huge(model, choose.rows, direction.site, max(scales) * direction.length)
    chosen = _tried(model, choose, best, judges, arms=doses(scales), decoding=decoding)
    arms = doses([choose_scale(chosen.rows)])
    again = replace(decoding, seed=decoding.seed + 1)
    reported = _tried(model, report, best, judges, arms=arms, decoding=again)
    parts = [*(("place", one) for one in tried), ("choose", chosen), ("report", reported)]
    return Swept(
        [{**row, "half": half} for half, one in parts for row in one.rows],
        [{**row, "half": half} for half, one in parts for row in one.texts],
    )


def _best(tried: Sequence[Swept]) -> int:
    """The number of the place whose best scale has the highest mean success; of equals the
    first.
    """
    return int(np.argmax([max(_mean_success(one.rows).values()) for one in tried]))


def choose_scale(rows: Sequence[Mapping[str, Any]]) -> float:
    """The scale with the highest mean success over emotions by the first judge; of equals the
    smallest.
    """
    means = _mean_success(rows)
    return max(sorted(means), key=lambda scale: means[scale])


def _mean_success(rows: Sequence[Mapping[str, Any]]) -> dict[float, float]:
    """The mean success over emotions at each scale, by the judge of the first row."""
    steered = [
        row
        for row in rows
        if row["control"] == ""
        and row["metric"] == "success"
        and row["emotion"] != ALL
        and row["judge"] == rows[0]["judge"]
    ]
    scales = {float(row["scale"]) for row in steered}
    return {
        scale: float(np.mean([row["value"] for row in steered if row["scale"] == scale]))
        for scale in scales
    }


class Half(NamedTuple):
    """Prompts as tokens, as text, their names, and their scenarios."""

    rows: list[Encoded]
    texts: list[str]
    names: list[str]
    groups: list[int]


def split_prompts(
    model: LanguageModel, prompts: Sequence[Prompt | Stimulus], seed: int
) -> tuple[Half, Half]:
    """The prompts, their scenarios shuffled and dealt in two."""
    scenario = prompt_scenarios(prompts)
    if len(np.unique(scenario)) < 2:
        raise StatisticsError(
            "a sweep chooses on half of the prompts and reports on the rest: give at least two "
            "prompts of two scenarios."
        )
    order = np.random.default_rng(seed).permutation(int(scenario.max()) + 1)
    dealt = [
        [i for one in order[half::2] for i in np.flatnonzero(scenario == one).tolist()]
        for half in (0, 1)
    ]
    choose, report = (
        Half(
            open_prompts(model, [prompts[i] for i in half]),
            [prompt_text(prompts[i]) for i in half],
            [_name(prompts[i], i) for i in half],
            scenario[half].tolist(),
        )
        for half in dealt
    )
    return choose, report


def prompt_scenarios(prompts: Sequence[Prompt | Stimulus]) -> Int[np.ndarray, " prompt"]:
    """The number of each prompt's scenario: a stimulus has its group, any other is one alone."""
    named = [
        (True, one.group) if isinstance(one, Stimulus) else (False, place)
        for place, one in enumerate(prompts)
    ]
    number = {name: code for code, name in enumerate(sorted(set(named)))}
    return np.array([number[name] for name in named], dtype=np.int64)


def _name(prompt: Prompt | Stimulus, place: int) -> str:
    """What a table calls a prompt: a stimulus by its id, any other by its number from 1."""
    return prompt.id if isinstance(prompt, Stimulus) else str(place + 1)


def _tried(
    model: LanguageModel,
    prompts: Half,
    at: Place,
    judges: Judges,
    *,
    arms: Sequence[Arm],
    decoding: Decoding,
) -> Swept:
    """What the arms do to these prompts, towards each emotion. All arms of an emotion are written
    together.
    """
    rows, n, rng = prompts.rows, len(prompts.rows), np.random.default_rng(decoding.seed)
    strength = np.repeat([scale for _, scale in arms], n)
    written: list[Written] = []
    for direction in at.directions.values():
        check_direction(model, direction)
    for emotion, direction in track(
        list(at.directions.items()), f"steering ({told_where(at.where)})", unit="emotion"
    ):
        own = np.tile(direction.step, (n, 1))
        added = np.concatenate(
            [random_like(own, rng) if control == "random" else own for control, _ in arms]
        )
        edits = [Intervention(direction.site, add(added, scale=strength), at.where)]
        texts = write_on(model, [*rows] * len(arms), edits, decoding)
        verdicts = judged(judges, texts)
        for number, arm in enumerate(arms):
            mine = slice(number * n, (number + 1) * n)
            said = {name: told[mine] for name, told in verdicts.items()}
            written.append(Written(arm, emotion, direction.site, at.where, texts[mine], said))
    return Swept(
        share_rows(written, prompts.groups), written_rows(written, prompts.texts, prompts.names)
    )
