"""An evaluation of steering: how often the model writes the emotion that it is steered to, and what
that costs, beside everything that it must be better than.

1. The prompts are split in two. On the first half each candidate (the directions of a layer) is
   tried at every strength; the one with the highest harmonic mean of success, by the first judge,
   and fluency wins.
2. On the other half these arms are written, from the same seed and under the same stop rules:
   `unsteered`; `instruction`, which asks for the emotion in words; the direction (control "");
   `circuit`, where there are circuits, at a strength of its own, chosen in the same way; random
   directions of the direction's length; and `shuffled`: the directions' own texts, held against
   every emotion but their own.
3. There, too, the direction is written at the other strengths: the slope of each prompt's success
   against the strength, and the share of prompts that move the other way (half `dose`).
4. Every judge reads every text. Texts are priced by the unsteered model, given the plain prompt,
   which also says how far each belongs to its own prompt.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from interp.causal.circuit import check_circuit
from interp.causal.edits import add
from interp.causal.forward import open_prompts
from interp.causal.interventions import Intervention
from interp.causal.pooled import ALL
from interp.causal.steered_texts import Judges
from interp.causal.steering_sweep import prompt_scenarios, split_prompts
from interp.causal.steps import check_direction, step
from interp.errors import StatisticsError, UsageError
from interp.evaluation.costs import losses
from interp.evaluation.steering_arms import (
    ArmWriter,
    Candidate,
    Keep,
    SteeringTrial,
    at_once,
    site_of,
)
from interp.evaluation.steering_doses import slope_rows, tried_rows
from interp.evaluation.steering_rows import Spoken, measured_rows, scored
from interp.models import LanguageModel
from interp.models.quantised import warn_of_rounding
from interp.progress import track
from interp.results import TableRows
from interp.sites import site_columns
from interp.stats import mean_interval
from stimuli.battery import Stimulus

CIRCUIT_SCALES = (0.5, 1.0, 2.0, 4.0)
"""Strengths that circuits are tried at, in their parts' own shifts."""


class SteeringScores(NamedTuple):
    """What an evaluation found: `rows` of numbers, and `texts`, one row per text and judge."""

    rows: TableRows
    texts: TableRows


def evaluate_steering(
    model: LanguageModel,
    prompts: Sequence[str | Stimulus],
    candidates: Sequence[Candidate],
    judges: Judges,
    trial: SteeringTrial,
    *,
    neutral: Sequence[str | Stimulus] = (),
    keep: Keep = at_once,
) -> SteeringScores:
    """Success, specificity and cost of steering all prompts to all emotions
    (`steering_rows.measured_rows`), and every text with what each judge says of it.

    `neutral` texts are not continued: what their loss gains (nats per token) when the direction is
    added to all their tokens says what steering does to what has nothing to do with it. Intervals
    are over scenarios: a stimulus has its group, a text is one of its own. `keep` may keep what
    each arm wrote and what was said of it, so that one that was stopped goes on. Raises
    `StatisticsError` for no candidate, no judge, candidates of different emotions, and fewer than
    two prompts or scenarios; and as `interp.steer`.
    """
    emotions = sorted({emotion for one in candidates for emotion in one})
    if not emotions or not judges or any(sorted(one) != emotions for one in candidates):
        raise StatisticsError(
            f"{len(candidates)} candidates of the emotions {', '.join(emotions) or 'none'} and "
            f"{len(judges)} judges: give at least one of each, and every emotion in each candidate."
        )
    lacking = sorted(set(emotions) - set(trial.circuits))
    if trial.circuits and lacking:
        raise UsageError(f"there are circuits, and none of {', '.join(lacking)}: find these, too.")
    if model.quantised:
        warn_of_rounding(model.provenance, "steering")
    for circuit in trial.circuits.values():
        check_circuit(model, circuit)
    for direction in (one[emotion] for one in candidates for emotion in emotions):
        check_direction(model, direction)
    choose, report = split_prompts(model, prompts, trial.decoding.seed)
    tried = ArmWriter(model, choose, judges, trial, part="choose", keep=keep)
    usual = tried.unsteered(site_of(candidates[0]))
    best, scale, chosen = _chosen(tried, candidates, usual)
    by_shifts, more = _chosen_of_circuits(tried, best, usual)
    again = replace(trial.decoding, seed=trial.decoding.seed + 1)
    final = ArmWriter(
        model, report, judges, replace(trial, decoding=again), part="report", keep=keep,
        relevant=True,
    )  # fmt: skip
    spoken = [*final.arms(best, scale), *final.modulated(best, by_shifts)]
    measured = measured_rows(spoken, report.groups, emotions)
    rows = [*chosen, *more, *_told(measured, best, scale, trial, by_shifts=by_shifts)]
    rows += _told(_on_neutral(model, neutral, best, scale=scale, trial=trial), best, scale, trial)
    # the other strengths behind the same prompts, for the slopes alone
    graded = ArmWriter(model, report, judges, final.trial, part="dose", keep=keep)
    steered = [one for one in spoken if one.control == ""]
    if others := [float(other) for other in trial.scales if other != scale]:
        steered += graded.steered(best, others)
    found = slope_rows(steered, spoken[0], report.groups, report.names)
    rows += [{**row, "half": "dose"} for row in _told(found, best, np.nan, trial)]
    parts = {"choose": tried, "report": final, "dose": graded}
    texts = [{**row, "half": half} for half, one in parts.items() for row in one.texts]
    return SteeringScores(rows, texts)


def _chosen(
    writer: ArmWriter, candidates: Sequence[Candidate], usual: Spoken
) -> tuple[Candidate, float, TableRows]:
    """The candidate and strength with the highest harmonic score beside the `usual` texts, by the
    first judge; of equals the first. Rows: the score of each, its success and its perplexity ratio.
    """
    rows: TableRows = []
    found: list[tuple[float, Candidate, float]] = []
    trial = writer.trial
    for candidate in track(list(candidates), "choosing where to steer", unit="layer"):
        spoken = writer.steered(candidate, list(map(float, trial.scales)))
        for scale in map(float, trial.scales):
            here = [one for one in spoken if one.scale == scale]
            row = scored(here, usual, writer.groups)
            found.append((row["value"], candidate, scale))
            cell = [row, *tried_rows(here, usual, writer.groups)]
            rows += [{**one, "half": "choose"} for one in _told(cell, candidate, scale, trial)]
    _, best, scale = max(found, key=lambda one: one[0])
    return best, scale, rows


def _chosen_of_circuits(writer: ArmWriter, at: Candidate, usual: Spoken) -> tuple[float, TableRows]:
    """The strength of the circuits that is best in the same way, with its rows."""
    scores: dict[float, float] = {}
    rows: TableRows = []
    for scale in CIRCUIT_SCALES if writer.trial.circuits else ():
        row = scored(writer.modulated(at, scale), usual, writer.groups)
        scores[scale] = row["value"]
        told = _told([row], at, scale, writer.trial, by_shifts=scale)
        rows += [{**one, "half": "choose"} for one in told]
    return max(scores, key=scores.__getitem__, default=0.0), rows


def _told(
    rows: TableRows, at: Candidate, scale: float, trial: SteeringTrial, *, by_shifts: float = 0.0
) -> TableRows:
    """The rows, with where and how much was added; of the circuits, by how many shifts."""
    place = {
        **site_columns(site_of(at)),
        "method": "steering",
        "unit": trial.unit,
        "half": "report",
    }
    moved = {"scale": by_shifts, "unit": "shift", "site": "", "layer": np.nan}
    return [
        {**place, "scale": scale, **(moved if row.get("control") == "circuit" else {}), **row}
        for row in rows
    ]


def _on_neutral(
    model: LanguageModel,
    texts: Sequence[str | Stimulus],
    at: Candidate,
    *,
    scale: float,
    trial: SteeringTrial,
) -> TableRows:
    """Rows of `neutral_loss_gain` (nats per token) of each direction, and of all together."""
    if not texts:
        return []
    tokens = [list(row.tokens) for row in open_prompts(model, texts)]
    starts = [1] * len(tokens)
    before = np.array(losses(model, tokens, starts))
    gains = {}
    for emotion, direction in at.items():
        added = add(scale * step(direction, trial.unit))
        edit = [Intervention(direction.site, added, "all")]
        gains[emotion] = np.array(losses(model, tokens, starts, edit)) - before
    gains[ALL] = np.mean(list(gains.values()), axis=0)
    shared = {"metric": "neutral_loss_gain", "control": ""}
    groups = prompt_scenarios(texts)
    return [
        {**shared, "emotion": emotion, **mean_interval(one, groups)._asdict()}
        for emotion, one in gains.items()
    ]
