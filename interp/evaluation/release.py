"""A steered emotion let go: texts whose first tokens are written under a direction, read on.

A direction that is added behind block l is seen by later tokens only through the keys and values of
later blocks, and through the words that were written. So it is read at a later layer, along the
direction that was fitted there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.analysis.released import (
    AT_RANDOM,
    NEVER_STEERED,
    REREAD,
    STEERED_FIRST,
    heard_rows,
    released_rows,
)
from interp.causal.edits import add
from interp.causal.forward import Encoded, batches, open_prompts, run_forward
from interp.causal.generation import write_tokens
from interp.causal.interventions import Intervention
from interp.causal.steered_texts import Judge, prompt_text
from interp.causal.steps import check_direction, random_like, step
from interp.directions import Direction
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.models.texts.conversations import Prompt
from interp.results import TableRows
from interp.sites import Site, site_columns
from stimuli.battery import Stimulus

Judged = tuple[str, Judge]
"""A judge by the name that tables give it."""

TokenMask = Bool[Tensor, "row pos"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How it is done: `steered` tokens are written under the direction, `after` more without;
    `scale` counts in `unit` (`interp.causal.steps`).
    """

    steered: int = 8
    after: int = 32
    scale: float = 1.0
    unit: str = "dose"
    temperature: float = 0.0
    seed: int = 0

    @property
    def offsets(self) -> tuple[int, ...]:
        """The tokens behind the last steered one that are read: it (0), and powers of two."""
        powers = [2**power for power in range(self.after.bit_length())]
        return (0, *(k for k in powers if k <= self.after))

    @property
    def decoding(self) -> Decoding:
        """How texts are written."""
        return Decoding(
            max_new_tokens=self.steered + self.after, temperature=self.temperature, seed=self.seed
        )


class Released(NamedTuple):
    """The rows of numbers, and those of the texts."""

    rows: TableRows
    texts: TableRows


class _Written(NamedTuple):
    """The texts of an arm: prompts with what was written, the new tokens, and what was added."""

    rows: list[Encoded]
    new: list[list[int]]
    added: Float[np.ndarray, "row d_model"] | None


def release(
    model: LanguageModel,
    prompts: Sequence[Prompt | Stimulus],
    directions: Mapping[str, Direction],
    readers: Mapping[str, Direction],
    judge: Judged,
    how: Release,
) -> Released:
    """`released_rows` and `heard_rows` of the prompts steered along each of `directions` (all of
    one site) from their last token on; read along `readers`, those of the same emotions at a site
    of a later layer. And a row of each text: `reached`, whether the judge hears the emotion in what
    was written after the release.

    Raises `UsageError` for readers that lie below; and as `interp.steer`.
    """
    site, place = sites_apart(model, directions, readers)
    rows = open_prompts(model, prompts)
    own = np.stack([how.scale * step(one, how.unit) for one in directions.values()])
    added = np.repeat(own, len(rows), axis=0)
    drawn = random_like(added, np.random.default_rng(how.seed))
    every = [*rows] * len(directions)
    written = {
        STEERED_FIRST: _write(model, every, site, added, how),
        AT_RANDOM: _write(model, every, site, drawn, how),
        NEVER_STEERED: _write(model, rows, site, None, how),
    }
    read = {arm: _read(model, one, site, place, how) for arm, one in written.items()}
    read[REREAD] = _read(model, written[STEERED_FIRST]._replace(added=None), site, place, how)
    units = np.stack([one.vector / one.length for one in readers.values()])
    readings = {arm: _along(states, units, n_prompts=len(rows)) for arm, states in read.items()}
    found = [
        {**site_columns(place), "position": "generated", **row}
        for row in released_rows(readings, how.offsets)
    ]
    verdicts = {arm: _heard(model, one, judge, how) for arm, one in written.items()}
    emotions = list(directions)
    right = {arm: _right(said, emotions, len(rows)) for arm, said in verdicts.items()}
    found += heard_rows(right, judge=judge[0])
    texts = _text_rows(model, prompts, written, verdicts, emotions, how)
    return Released([{**row, "scale": how.scale, "unit": how.unit} for row in found], texts)


def sites_apart(
    model: LanguageModel, directions: Mapping[str, Direction], readers: Mapping[str, Direction]
) -> tuple[Site, Site]:
    """The one site of `directions` that are added, and that of `readers`, along which is read.

    Raises `UsageError` where the second lies in no later layer; and as `check_direction`.
    """
    (site,) = {one.site for one in directions.values()}
    (place,) = {one.site for one in readers.values()}
    if place.layer <= site.layer:
        raise UsageError(
            f"layer {place.layer} is read and layer {site.layer} steered: name a later layer to "
            "read (--read-layer), where later tokens can see what was added."
        )
    for one in (*directions.values(), *readers.values()):
        check_direction(model, one)
    return site, place


def _write(
    model: LanguageModel,
    rows: Sequence[Encoded],
    site: Site,
    added: Float[np.ndarray, "row d_model"] | None,
    how: Release,
) -> _Written:
    """The prompts continued, what is `added` on their last tokens and the first new ones."""
    edits = [] if added is None else [Intervention(site, add(added), _steered(rows, how.steered))]
    new = write_tokens(model, rows, edits, how.decoding)
    whole = [
        replace(row, tokens=(*row.tokens, *more), end=len(row.tokens) - 1)
        for row, more in zip(rows, new, strict=True)
    ]
    return _Written(whole, new, added)


def _steered(rows: Sequence[Encoded], n: int) -> TokenMask:
    """The `n` positions from each prompt's last one on."""
    first = torch.tensor([len(row.tokens) - 1 for row in rows])[:, None]
    at = torch.arange(int(first.max()) + n)
    return (at >= first) & (at < first + n)


def _read(
    model: LanguageModel, written: _Written, site: Site, place: Site, how: Release
) -> Float[np.ndarray, "row offset d_model"]:
    """What `place` holds behind the last steered token, where the same vectors are added at the
    same tokens (None: nothing is); NaN where a text ended before.
    """
    offsets = torch.tensor(how.offsets)
    found = np.full((len(written.rows), len(offsets), model.dims.d_model), np.nan)
    for batch in batches(written.rows):
        rows = [written.rows[at] for at in batch.tolist()]
        at = torch.tensor([row.end for row in rows])[:, None] + how.steered - 1 + offsets
        last = torch.tensor([len(row.tokens) - 1 for row in rows])[:, None]
        edits = []
        if written.added is not None:
            prompts = [replace(row, tokens=row.tokens[: row.end + 1]) for row in rows]
            mask = _steered(prompts, how.steered)
            edits = [Intervention(site, add(written.added[batch]), mask)]
        kept = run_forward(
            model, rows, interventions=edits, read=[place], at=torch.minimum(at, last)
        )
        x = kept.sites[place].double().cpu().numpy()
        found[batch] = np.where((at <= last).numpy()[..., None], x, np.nan)
    return found


def _along(
    states: Float[np.ndarray, "row offset d_model"],
    units: Float[np.ndarray, "emotion d_model"],
    *,
    n_prompts: int,
) -> Float[np.ndarray, "emotion prompt offset"]:
    """Each emotion's texts along its own direction; texts of no emotion along all of them."""
    if len(states) == n_prompts:
        return np.einsum("pod,ed->epo", states, units)
    of_emotion = states.reshape(len(units), n_prompts, *states.shape[1:])
    return np.einsum("epod,ed->epo", of_emotion, units)


def _heard(
    model: LanguageModel, written: _Written, judge: Judged, how: Release
) -> list[str | None]:
    return judge[1]([model.decode(new[how.steered :]) for new in written.new])


def _right(
    said: Sequence[str | None], emotions: Sequence[str], n_prompts: int
) -> Bool[np.ndarray, "emotion prompt"]:
    verdicts = np.array([one or "" for one in said]).reshape(-1, n_prompts)
    return verdicts == np.array(emotions)[:, None]


def _text_rows(
    model: LanguageModel,
    prompts: Sequence[Prompt | Stimulus],
    written: Mapping[str, _Written],
    verdicts: Mapping[str, Sequence[str | None]],
    emotions: Sequence[str],
    how: Release,
) -> TableRows:
    rows: TableRows = []
    for arm, one in written.items():
        for at, (new, verdict) in enumerate(zip(one.new, verdicts[arm], strict=True)):
            emotion = emotions[at // len(prompts)] if one.added is not None else "all"
            rows.append(
                {
                    "method": "release",
                    "metric": "reached",
                    "value": np.nan if emotion == "all" else float(verdict == emotion),
                    "n": 1,
                    "control": arm,
                    "emotion": emotion,
                    "prompt": prompt_text(prompts[at % len(prompts)]),
                    "text": model.decode(new[: how.steered]),
                    "text_after": model.decode(new[how.steered :]),
                    "verdict": verdict or "",
                }
            )
    return rows
