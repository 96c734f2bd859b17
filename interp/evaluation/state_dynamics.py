"""Conversations with a model that is told an outside state, turn by turn: by steering, or in words.

The user's turns are written beforehand, so that their affect, and with it every state, is known
before anything is said. All conversations of all arms (`interp.analysis.turn_rows`) go on side by
side. What is read is the mean over the tokens that wrote a reply (the opening of the turn and all
but the last new one), at a later layer than the one that is steered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.dynamics import AffectAxes
from interp.analysis.released import AT_RANDOM, REREAD
from interp.analysis.turn_rows import FIRST_ORDER, UNTOLD, OfTurns, TurnReadings
from interp.causal.edits import Edit, Selected, add
from interp.causal.forward import Encoded, batches, open_prompts, run_forward
from interp.causal.generation import write_tokens
from interp.causal.interventions import Intervention
from interp.causal.steering import STEERED_AT
from interp.directions import Direction
from interp.evaluation.release import Judged, sites_apart
from interp.evaluation.told_states import StatesNow, TellingOfStates, ToldStates, states_of
from interp.models import LanguageModel
from interp.models.texts.conversations import Prompt
from interp.progress import track
from interp.results import TableRow, TableRows
from interp.sites import Site
from stimuli.battery import Stimulus

Script = Sequence[Stimulus]
"""The turns of one user."""


class Conversed(NamedTuple):
    """What was read in the conversations, and a row of each reply."""

    found: TurnReadings
    texts: TableRows


Replies = list[list[int]]
"""The new tokens of each reply."""


class _Place(NamedTuple):
    """Where is read, and what projects onto each axis there."""

    site: Site
    along: Float[np.ndarray, "axis d_model"]


def converse(
    model: LanguageModel,
    scripts: Sequence[Script],
    affect: OfTurns,
    axes: AffectAxes,
    directions: Mapping[str, Direction],
    readers: Mapping[str, Direction],
    judge: Judged,
    how: TellingOfStates,
) -> Conversed:
    """The conversations of `scripts`, whose turns have this `affect`: steered along `directions`
    (all of one site, in the order of the emotions of `axes`), read along `readers`, of a later
    layer.

    Raises `UsageError` for readers that do not lie above; and as `interp.steer`.
    """
    _, site = sites_apart(model, directions, readers)
    told = ToldStates(axes, directions, how, n=len(scripts))
    states = states_of(affect, how)
    along = axes.readers(np.stack([one.step for one in readers.values()]))
    talk = _Talk(model, scripts, how)
    readings: dict[str, list[Float[np.ndarray, "conversation axis"]]] = {}
    for turn in track(range(affect.shape[1]), "talking", unit="turn"):
        now = {arm: one[:, turn] for arm, one in states.items()}
        for arm, one in _one_turn(talk, turn, told, now, _Place(site, along)).items():
            readings.setdefault(arm, []).append(one)
    every = {arm: np.stack(one, axis=1) for arm, one in readings.items()}
    verdicts = talk.heard(judge)
    heard = {arm: np.stack([axes.affect(one) for one in said]) for arm, said in verdicts.items()}
    found = TurnReadings(axes.names, how.stretches, states, every, heard)
    return Conversed(found, talk.rows(verdicts, judge[0]))


def _one_turn(
    talk: "_Talk", turn: int, told: ToldStates, now: StatesNow, place: _Place
) -> dict[str, Float[np.ndarray, "conversation axis"]]:
    """One turn of all conversations: what is read in each arm."""
    now = {**now, AT_RANDOM: now[FIRST_ORDER]}
    moods = told.moods(now)
    prompts, added = talk.prompts(turn, moods), told.vectors(now)
    written, read = _write(talk.model, prompts, added, place, told)
    found = dict(zip(now, np.split(read, len(now)), strict=True))
    replies = dict(zip(now, _parts(written, len(now)), strict=True))
    untold = talk.prompts(turn, {FIRST_ORDER: moods[UNTOLD]})
    found[REREAD] = _reread(talk.model, untold, replies[FIRST_ORDER], place, told.how)
    talk.keep(replies)
    return found


def _parts(rows: Replies, n: int) -> list[Replies]:
    size = len(rows) // n
    return [rows[first : first + size] for first in range(0, len(rows), size)]


class _Talk:
    """What was said so far, by arm and conversation."""

    def __init__(self, model: LanguageModel, scripts: Sequence[Script], how: TellingOfStates):
        self.model, self._scripts, self._how = model, scripts, how
        self._said: dict[str, list[list[str]]] = {}

    def prompts(self, turn: int, moods: Mapping[str, Sequence[str]]) -> list[Prompt]:
        """Each conversation up to this turn of the user, which the mood stands before."""
        return [
            self._prompt(arm, place, turn, mood)
            for arm, every in moods.items()
            for place, mood in enumerate(every)
        ]

    def _prompt(self, arm: str, place: int, turn: int, mood: str) -> Prompt:
        messages: list[dict[str, str]] = []
        for at in range(max(0, turn - self._how.history), turn):
            reply = self._said[arm][place][at].strip()
            messages.append({"role": "user", "content": self._scripts[place][at].text})
            messages += [{"role": "assistant", "content": reply}] if reply else []
        messages.append({"role": "user", "content": mood + self._scripts[place][turn].text})
        if self.model.chat is not None:
            return messages
        return " ".join(one["content"] for one in messages)

    def keep(self, replies: Mapping[str, Replies]) -> None:
        """Keep the replies of a turn."""
        for arm, every in replies.items():
            said = self._said.setdefault(arm, [[] for _ in every])
            for one, tokens in zip(said, every, strict=True):
                one.append(self.model.decode(tokens))

    def heard(self, judge: Judged) -> dict[str, list[list[str | None]]]:
        """The emotion that the judge hears in each reply."""
        return {arm: [judge[1](texts) for texts in said] for arm, said in self._said.items()}

    def rows(self, verdicts: Mapping[str, Sequence[Sequence[str | None]]], judge: str) -> TableRows:
        """A row of each reply: `agrees`, whether the emotion that is heard is that of the turn."""
        return [
            self._row(arm, place, turn, verdict) | {"judge": judge}
            for arm, said in verdicts.items()
            for place, every in enumerate(said)
            for turn, verdict in enumerate(every)
        ]

    def _row(self, arm: str, place: int, turn: int, verdict: str | None) -> TableRow:
        item = self._scripts[place][turn]
        return {
            "method": "state_dynamics",
            "metric": "agrees",
            "value": float(verdict == item.emotion),
            "n": 1,
            "arm": arm,
            "conversation": place,
            "turn": turn + 1,
            "emotion": item.emotion,
            "prompt": item.text,
            "text": self._said[arm][place][turn],
            "verdict": verdict or "",
        }


def _write(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    added: Float[np.ndarray, "row d_model"],
    place: _Place,
    told: ToldStates,
) -> tuple[Replies, Float[np.ndarray, "row axis"]]:
    """Each prompt's reply, written under what is added to it, and what is read while it is
    written.
    """
    rows = open_prompts(model, prompts)
    kept: dict[tuple[int, int], Float[np.ndarray, " axis"]] = {}
    edits = [Intervention(place.site, _reader(kept, place.along), ("opening", "generated"))]
    if added.any():
        edits.insert(0, Intervention(told.site, add(added), STEERED_AT))
    new = write_tokens(model, rows, edits, told.how.decoding)
    read = [
        np.mean([kept[at, position] for position in _wrote(row, more, told.how)], axis=0)
        for at, (row, more) in enumerate(zip(rows, new, strict=True))
    ]
    return new, np.stack(read)


def _reader(
    kept: dict[tuple[int, int], Float[np.ndarray, " axis"]],
    along: Float[np.ndarray, "axis d_model"],
) -> Edit:
    """An edit that leaves everything as it is, and keeps what it sees by row and position."""

    def look_on(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        seen = x.double().cpu().numpy() @ along.T
        for row, position, values in zip(at.row.tolist(), at.position.tolist(), seen, strict=True):
            kept[row, position] = values
        return x

    return look_on


def _wrote(row: Encoded, new: Sequence[int], how: TellingOfStates) -> range:
    """The positions whose logits chose the new tokens, or that the text ends."""
    last = len(row.tokens) - 1
    return range(last, last + min(len(new) + 1, how.decoding.max_new_tokens))


def _reread(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    replies: Replies,
    place: _Place,
    how: TellingOfStates,
) -> Float[np.ndarray, "row axis"]:
    """The same positions of replies that are given, read behind prompts with nothing added."""
    opened = open_prompts(model, prompts)
    rows = [
        replace(row, tokens=(*row.tokens, *new)) for row, new in zip(opened, replies, strict=True)
    ]
    found = np.empty((len(rows), len(place.along)))
    for batch in batches(rows):
        with torch.inference_mode():
            kept = run_forward(model, [rows[at] for at in batch], read=[place.site])
        states = kept.sites[place.site].double().cpu().numpy()
        for at, x in zip(batch.tolist(), states, strict=True):
            wrote = _wrote(opened[at], replies[at], how)
            found[at] = (x[wrote.start : wrote.stop] @ place.along.T).mean(axis=0)
    return found
