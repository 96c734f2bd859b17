"""The arms of an evaluation of steering, written, judged and priced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.causal.circuit import Circuit
from interp.causal.edits import add
from interp.causal.forward import Encoded, open_prompts
from interp.causal.generation import write_tokens
from interp.causal.interventions import Intervention, Where
from interp.causal.modulation import modulate
from interp.causal.pooled import ALL
from interp.causal.steered_texts import Judges, Written, judged, written_rows
from interp.causal.steering import STEERED_AT, check_scales
from interp.causal.steering_sweep import WRITTEN, Half
from interp.causal.steps import random_like, step
from interp.directions import Direction
from interp.errors import UsageError
from interp.evaluation.costs import Cost, costs
from interp.evaluation.relevance import Relevance, other_prompts, relevances
from interp.evaluation.steering_rows import Spoken
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.results import TableRows
from interp.sites import Site

RANDOM_DRAWS = 20
"""Random directions beside those of the emotions."""

Candidate = Mapping[str, Direction]
"""A direction per emotion, all of one layer."""

Keep = Callable[[str, Callable[[], Any]], Any]
"""From the name of a part of the work, and what computes it, to its result: one that was kept may
stand for it. Results are what JSON can hold.
"""


def at_once(name: str, compute: Callable[[], Any]) -> Any:
    """Compute it, and keep nothing."""
    return compute()


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
        if self.instruction is not None:
            check_instruction(self.instruction)


class ArmWriter:
    """Writes, judges and prices the continuations of one half of the prompts, and collects the rows
    of all of them in `texts`. With `relevant`, each is held against prompts of other scenarios.
    `part` names the half in what `keep` keeps.
    """

    def __init__(
        self,
        model: LanguageModel,
        half: Half,
        judges: Judges,
        trial: SteeringTrial,
        *,
        part: str = "",
        keep: Keep = at_once,
        relevant: bool = False,
    ) -> None:
        self._part, self._keep_done, self._number = part, keep, 0
        self._model, self._half, self._judges, self.trial = model, half, judges, trial
        self._draw = np.random.default_rng(trial.decoding.seed)
        self._others = other_prompts(half.groups, seed=trial.decoding.seed) if relevant else []
        self.groups = half.groups
        self.texts: TableRows = []

    def arms(self, candidate: Candidate, scale: float) -> list[Spoken]:
        """All arms with these directions at this strength, the unsteered one first."""
        site = site_of(candidate)
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
        return self._write(meant, site_of(candidate), np.stack(added))

    def modulated(self, at: Candidate, scale: float) -> list[Spoken]:
        """What it writes with each emotion's circuit moved; nothing where there are no circuits."""
        found: list[Spoken] = []
        for emotion in at if self.trial.circuits else ():
            moved = modulate(
                self._model, self.trial.circuits[emotion], scale=scale, where=self.trial.where
            )
            found += self._write([Spoken("circuit", emotion, scale)], site_of(at), edits=moved)
        return found

    def _instructed(self, emotion: str, site: Site) -> Spoken:
        asked = str(self.trial.instruction)
        given = [instructed(asked, text, emotion) for text in self._half.texts]
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

        def compute() -> dict[str, Any]:
            tokens = write_tokens(self._model, given or plain, edits, trial.decoding)
            texts = [self._model.decode(new) for new in tokens]
            verdicts, prices = judged(self._judges, texts), costs(self._model, plain, tokens)
            others = self._others * len(meant)
            fits = relevances(self._model, plain, tokens, others) if others else []
            return {"texts": texts, "verdicts": verdicts, "costs": prices, "relevance": fits}

        self._number += 1
        found = self._keep_done(f"{self._part} {self._number}", compute)
        texts, verdicts = found["texts"], found["verdicts"]
        prices = [Cost(*one) for one in found["costs"]]
        relevant = [Relevance(*one) for one in found["relevance"]]
        done = []
        for number, one in enumerate(meant):
            mine = slice(number * n, (number + 1) * n)
            said = {name: told[mine] for name, told in verdicts.items()}
            spoken = one._replace(
                texts=texts[mine], verdicts=said, costs=prices[mine], relevance=relevant[mine]
            )
            self._keep(spoken, site, texts[mine])
            done.append(spoken)
        return done

    def _keep(self, spoken: Spoken, site: Site, texts: Sequence[str]) -> None:
        arm = spoken.control, spoken.scale
        where = self.trial.where if spoken.control in ("", "random", "circuit") else "none"
        place = None if spoken.control == "circuit" else site
        written = Written(arm, spoken.emotion, place, where, texts, spoken.verdicts)
        rows = written_rows([written], self._half.texts, self._half.names)
        about = [
            {"group": str(group), "draw": spoken.draw, **cost._asdict()}
            for group, cost in zip(self.groups, spoken.costs, strict=True)
        ]
        if spoken.relevance:
            fits = spoken.relevance
            about = [{**row, **one._asdict()} for row, one in zip(about, fits, strict=True)]
        about *= len(spoken.verdicts)
        self.texts += [{**row, **more} for row, more in zip(rows, about, strict=True)]


def check_instruction(asked: str) -> None:
    """Raise `UsageError` unless an instruction has a place for the emotion and one for the text."""
    if not ("{emotion}" in asked and "{text}" in asked):
        raise UsageError(
            f"the instruction {asked!r} must have {{emotion}} and {{text}} in it, such as "
            "'Written by someone full of {emotion}: {text}'."
        )


def instructed(asked: str, text: str, emotion: str = "") -> str:
    """The instruction with the emotion and the text in their places."""
    return asked.replace("{emotion}", emotion).replace("{text}", text)


def site_of(candidate: Candidate) -> Site:
    """The site of its directions."""
    return next(iter(candidate.values())).site
