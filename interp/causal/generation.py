"""Generation under any edits, at any positions: prompts in, their continuations out.

Prompts run in left-padded batches with a key-value cache. Where an edit acts is said for each
prompt: `last` is the last token of its text, where directions are fitted
(`interp.models.texts.ends`); `generated` is all that stands behind the text, what a chat template
writes and what the model does; `opening` is the very last token of the prompt, under a chat
template the opening of the assistant's turn. `prompt`, `all` and masks mean what an intervention
says.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.edits import Edit, Selected
from interp.causal.forward import Encoded, listed, open_prompts
from interp.causal.interventions import Intervention, Where, applied
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.generation import Decoding
from interp.models.language_model import Told
from interp.models.quantised import warn_of_rounding
from interp.models.texts.conversations import Prompt
from stimuli.battery import Stimulus

ROWS_AT_ONCE = 256
"""Prompts that are written together."""


def generate(
    model: LanguageModel,
    prompts: Prompt | Stimulus | Sequence[Prompt | Stimulus],
    interventions: Sequence[Intervention] = (),
    *,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """The continuation of each prompt (a text, messages, or a stimulus) under `interventions`. One
    prompt given alone is a list of one.

    The interventions act in their order. An edit's array may hold one value per prompt, and a mask
    has one row per prompt, however many there are. Temperature 0 is greedy. Under a chat template
    a text is a user turn, and what is written is the assistant's turn. Warns on a quantised model.
    Raises `UsageError` for no prompt, a mask with another number of rows, a site where an edit does
    not act, no new tokens, or a negative temperature; `DataError` for a prompt that is too long.
    """
    prompts = listed(prompts)
    if not prompts:
        raise UsageError("there is no prompt to continue: give at least one.")
    method = "steering" if interventions else "generation"
    require(model, method, [one.site for one in interventions])
    if interventions and model.quantised:
        warn_of_rounding(model.provenance, method)
    return write_on(
        model,
        open_prompts(model, prompts),
        interventions,
        Decoding(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed),
    )


def write_on(
    model: LanguageModel,
    rows: Sequence[Encoded],
    interventions: Sequence[Intervention],
    decoding: Decoding,
) -> list[str]:
    """What `generate` gives, for prompts that are tokens already. As `write_tokens`."""
    return [model.decode(new) for new in write_tokens(model, rows, interventions, decoding)]


def write_tokens(
    model: LanguageModel,
    rows: Sequence[Encoded],
    interventions: Sequence[Intervention],
    decoding: Decoding,
    *,
    told: Told | None = None,
) -> list[list[int]]:
    """The new tokens of each row. Each batch of `ROWS_AT_ONCE` draws from the seed anew.

    `told` is called after each step with the new tokens so far, of the rows that are done and of
    those of the batch at work.
    """
    done: list[list[int]] = []
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[first : first + ROWS_AT_ONCE]
        edits = [edit for one in interventions if (edit := _in_part(one, rows, first)) is not None]
        tokens = [row.tokens for row in part]
        told_all = None if told is None else partial(_told_behind, told, tuple(done))
        with applied(model, edits, lengths=[len(row) for row in tokens], side="left"):
            done += model.generate(tokens, decoding, told=told_all)
    return done


def _told_behind(told: Told, done: Sequence[list[int]], written: list[list[int]]) -> None:
    told([*done, *written])


def acting(where: Where, rows: Sequence[Encoded]) -> Where:
    """`where` in the words of a forward pass, which does not know where the text of a row ends."""
    parts: list[Any] = []
    for part in where if isinstance(where, tuple) else (where,):
        if isinstance(part, str) and part == "last":
            parts.append(_positions(rows, lambda position, end: position == end))
        elif isinstance(part, str) and part == "generated":
            behind = _positions(rows, lambda position, end: position > end)
            parts += [behind, part] if behind.any() else [part]
        else:
            parts.append(part)
    return tuple(parts)


def _in_part(one: Intervention, rows: Sequence[Encoded], first: int) -> Intervention | None:
    """An intervention on all rows, as one on the batch of rows that begins at `first`; None where
    its masks select nothing there.
    """
    part = slice(first, first + ROWS_AT_ONCE)
    parts: list[Any] = []
    for where in one.where if isinstance(one.where, tuple) else (one.where,):
        if isinstance(where, Tensor):
            if len(where) != len(rows):
                found = f"the mask has {len(where)} rows and there are {len(rows)} prompts"
                raise UsageError(f"{found}: give one row per prompt.")
            where = where[part]
            if not where.any():
                continue
        parts.append(where)
    if not parts:
        return None
    return Intervention(one.site, _shifted(one.edit, first), acting(tuple(parts), rows[part]))


def _shifted(edit: Edit, first: int) -> Edit:
    """`edit`, asked by a batch whose row 0 is its row `first`."""
    if not first:
        return edit

    def of_batch(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        return edit(x, Selected(at.row + first, at.position))

    return of_batch


Chosen = Callable[[Int[Tensor, " pos"], Int[Tensor, "row 1"]], Bool[Tensor, "row pos"]]
"""Positions, and the position of each row's last own token -> which of the positions are meant."""


def _positions(rows: Sequence[Encoded], chosen: Chosen) -> Bool[Tensor, "row pos"]:
    """A mask on those positions inside the rows that are `chosen`."""
    width = max(len(row.tokens) for row in rows)
    lengths = torch.tensor([len(row.tokens) for row in rows])[:, None]
    ends = torch.tensor([row.end for row in rows])[:, None]
    return (torch.arange(width) < lengths) & chosen(torch.arange(width), ends)
