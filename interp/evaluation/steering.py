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
3. Every judge reads every text. Texts are priced by the unsteered model, given the plain prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.circuit import Circuit, check_circuit
from interp.causal.edits import add
from interp.causal.forward import Encoded, open_prompts
from interp.causal.generation import write_tokens
from interp.causal.interventions import Intervention, Where
from interp.causal.modulation import modulate
from interp.causal.pooled import ALL
from interp.causal.steered_texts import Judges, Written, judged, written_rows
from interp.causal.steering import STEERED_AT, check_scales
from interp.causal.steering_sweep import WRITTEN, Half, split_prompts
from interp.causal.steps import check_direction, random_like, step
from interp.directions import Direction
from interp.errors import StatisticsError, UsageError
from interp.evaluation.costs import costs, losses
from interp.evaluation.steering_rows import Spoken, measured_rows, scored
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.models.quantised import warn_of_rounding
from interp.progress import track
from interp.results import TableRows
from interp.sites import Site, site_columns
from interp.stats import mean_interval
from stimuli.battery import Stimulus

RANDOM_DRAWS = 20
"""Random directions beside those of the emotions."""

Candidate = Mapping[str, Direction]
"""A direction per emotion, all of one layer."""

CIRCUIT_SCALES = (0.5, 1.0, 2.0, 4.0)
"""Strengths that circuits are tried at, in their parts' own shifts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringTrial:
    """How steering is evaluated. `scales` count in `unit` (`interp.causal.steps`); `draws` are
    random directions; `instruction` asks for `{emotion}` and has the prompt as `{text}` (None: that
    arm is left out); `circuits`, one per emotion, are an arm of their own where there are any.

    Raises `UsageError` for scales that are not finite and above 0, fewer than one random direction,
    and an instruction without both fields.
    """

    scales: Sequence[float] = (0.7, 1.0, 1.3)
    unit: str = "dose"
    where: Where = STEERED_AT
    draws: int = RANDOM_DRAWS
    instruction: str | None = None
    decoding: Decoding = WRITTEN
    circuits: Mapping[str, Circuit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_scales(self.scales)
        if self.draws < 1:
            raise UsageError(f"{self.draws} random directions: at least 1 is needed.")
        asked = self.instruction
        if asked is not None and not ("{emotion}" in asked and "{text}" in asked):
            raise UsageError(
                f"the instruction {asked!r} must have {{emotion}} and {{text}} in it, such as "
                "'Written by someone full of {emotion}: {text}'."
            )


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
    neutral: Sequence[str] = (),
) -> SteeringScores:
    """Success, specificity and cost of steering all prompts to all emotions
    (`steering_rows.measured_rows`), and every text with what each judge says of it.

    `neutral` texts are not continued: what their loss gains (nats per token) when the direction is
    added to all their tokens says what steering does to what has nothing to do with it. Raises
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
    tried = _Writer(model, choose, judges, trial)
    usual = tried.unsteered(_site(candidates[0]))
    best, scale, chosen = _chosen(tried, candidates, usual)
    by_shifts, more = _chosen_of_circuits(tried, best, usual)
    again = replace(trial.decoding, seed=trial.decoding.seed + 1)
    final = _Writer(model, report, judges, replace(trial, decoding=again))
    spoken = [*final.arms(best, scale), *final.modulated(best, by_shifts)]
    measured = measured_rows(spoken, report.groups, emotions)
    rows = [*chosen, *more, *_told(measured, best, scale, trial, by_shifts=by_shifts)]
    rows += _told(_on_neutral(model, neutral, best, scale=scale, trial=trial), best, scale, trial)
    texts = [{**row, "half": "choose"} for row in tried.texts]
    return SteeringScores(rows, [*texts, *({**row, "half": "report"} for row in final.texts)])


class _Writer:
    """Writes, judges and prices the continuations of one half of the prompts, and collects the rows
    of all of them in `texts`.
    """

    def __init__(
        self, model: LanguageModel, half: Half, judges: Judges, trial: SteeringTrial
    ) -> None:
        self._model, self._half, self._judges, self.trial = model, half, judges, trial
        self._draw = np.random.default_rng(trial.decoding.seed)
        self.groups = half.groups
        self.texts: TableRows = []

    def arms(self, candidate: Candidate, scale: float) -> list[Spoken]:
        """All arms with these directions at this strength, the unsteered one first."""
        site = _site(candidate)
        spoken = [self.unsteered(site), *self.steered(candidate, [scale])]
        if self.trial.instruction is not None:
            spoken += [self._instructed(emotion, site) for emotion in candidate]
        steps = np.stack([scale * step(one, self.trial.unit) for one in candidate.values()])
        as_long = np.full((self.trial.draws, steps.shape[1]), 0.0)
        as_long[:, 0] = np.linalg.norm(steps, axis=1).mean()
        drawn = [Spoken("random", ALL, scale, draw) for draw in range(self.trial.draws)]
        return [*spoken, *self._write(drawn, site, random_like(as_long, self._draw))]

    def unsteered(self, site: Site) -> Spoken:
        """What the model writes by itself."""
        (spoken,) = self._write([Spoken("unsteered", ALL, 0.0)], site)
        return spoken

    def steered(self, candidate: Candidate, scales: Sequence[float]) -> list[Spoken]:
        """What it writes under each direction, at each strength."""
        meant = [Spoken("", emotion, scale) for scale in scales for emotion in candidate]
        unit = self.trial.unit
        added = [one.scale * step(candidate[one.emotion], unit) for one in meant]
        return self._write(meant, _site(candidate), np.stack(added))

    def modulated(self, at: Candidate, scale: float) -> list[Spoken]:
        """What it writes with each emotion's circuit moved; nothing where there are no circuits."""
        found: list[Spoken] = []
        for emotion in at if self.trial.circuits else ():
            moved = modulate(
                self._model, self.trial.circuits[emotion], scale=scale, where=self.trial.where
            )
            found += self._write([Spoken("circuit", emotion, scale)], _site(at), edits=moved)
        return found

    def _instructed(self, emotion: str, site: Site) -> Spoken:
        asked = str(self.trial.instruction)
        given = [
            asked.replace("{emotion}", emotion).replace("{text}", text) for text in self._half.texts
        ]
        meant = [Spoken("instruction", emotion, 0.0)]
        (spoken,) = self._write(meant, site, given=open_prompts(self._model, given))
        return spoken

    def _write(
        self,
        meant: Sequence[Spoken],
        site: Site,
        added: Float[np.ndarray, "arm d_model"] | None = None,
        *,
        given: Sequence[Encoded] | None = None,
        edits: Sequence[Intervention] = (),
    ) -> list[Spoken]:
        """What is `meant`, written: all prompts under each of the vectors `added`; under `edits`;
        or behind other prompts than the plain ones.
        """
        n, trial = len(self._half.rows), self.trial
        plain = [*self._half.rows] * len(meant)
        if added is not None:
            edits = [Intervention(site, add(np.repeat(added, n, axis=0)), trial.where)]
        tokens = write_tokens(self._model, given or plain, edits, trial.decoding)
        texts = [self._model.decode(new) for new in tokens]
        verdicts, prices = judged(self._judges, texts), costs(self._model, plain, tokens)
        done = []
        for number, one in enumerate(meant):
            mine = slice(number * n, (number + 1) * n)
            said = {name: told[mine] for name, told in verdicts.items()}
            spoken = one._replace(verdicts=said, costs=prices[mine])
            self._keep(spoken, site, texts[mine])
            done.append(spoken)
        return done

    def _keep(self, spoken: Spoken, site: Site, texts: Sequence[str]) -> None:
        arm = spoken.control, spoken.scale
        where = self.trial.where if spoken.control in ("", "random", "circuit") else "none"
        place = None if spoken.control == "circuit" else site
        written = Written(arm, spoken.emotion, place, where, texts, spoken.verdicts)
        rows = written_rows([written], self._half.texts, self._half.names)
        prices = [cost._asdict() for _ in spoken.verdicts for cost in spoken.costs]
        self.texts += [
            {**row, "draw": spoken.draw, **price} for row, price in zip(rows, prices, strict=True)
        ]


def _chosen(
    writer: _Writer, candidates: Sequence[Candidate], usual: Spoken
) -> tuple[Candidate, float, TableRows]:
    """The candidate and strength with the highest harmonic score beside the `usual` texts, by the
    first judge; of equals the first. Rows: the score of each.
    """
    rows: TableRows = []
    found: list[tuple[float, Candidate, float]] = []
    trial = writer.trial
    for candidate in track(list(candidates), "choosing where to steer", unit="layer"):
        spoken = writer.steered(candidate, list(map(float, trial.scales)))
        for scale in map(float, trial.scales):
            row = scored([one for one in spoken if one.scale == scale], usual, writer.groups)
            found.append((row["value"], candidate, scale))
            rows += [{**one, "half": "choose"} for one in _told([row], candidate, scale, trial)]
    _, best, scale = max(found, key=lambda one: one[0])
    return best, scale, rows


def _chosen_of_circuits(writer: _Writer, at: Candidate, usual: Spoken) -> tuple[float, TableRows]:
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
    place = {**site_columns(_site(at)), "method": "steering", "unit": trial.unit, "half": "report"}
    moved = {"scale": by_shifts, "unit": "shift", "site": "", "layer": np.nan}
    return [
        {**place, "scale": scale, **(moved if row.get("control") == "circuit" else {}), **row}
        for row in rows
    ]


def _on_neutral(
    model: LanguageModel, texts: Sequence[str], at: Candidate, *, scale: float, trial: SteeringTrial
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
    return [
        {**shared, "emotion": emotion, **mean_interval(one, range(len(one)))._asdict()}
        for emotion, one in gains.items()
    ]


def _site(candidate: Candidate) -> Site:
    return next(iter(candidate.values())).site
