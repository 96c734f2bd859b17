"""Interventions: an edit, at a site, at positions, applied while the model runs.

`applied` is the one hook mechanism of this room: a context manager around one forward pass or one
generation. Positions are absolute and never padding: position 0 is a text's own first token on
either padding side, with or without a key-value cache. Every intervention counts how often it
fired; one that never fired is an error, and no hook outlives the context.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.edits import EDITS, Edit, Selected
from interp.errors import InternalError, UsageError
from interp.models import LanguageModel
from interp.models.editable import Hook, edit_hooks
from interp.sites import Site

__all__ = ["EDITS", "Edit", "Intervention", "Selected", "Where", "applied"]

WHERE_WORDS = ("all", "prompt", "last", "opening", "generated")
"""all real tokens; the prompt's; the prompt's last (`last` and `opening` are one in a pass of its
own; `interp.causal.generation` knows them apart); those generated after it.
"""

Where = str | Bool[Tensor, "_ _"] | tuple[str | Bool[Tensor, "_ _"], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Intervention:
    """`edit` applied to what passes at `site`, at the positions `where`.

    `where` is a word of `WHERE_WORDS`, a mask on absolute positions (True: edit; positions past its
    width are left alone), or a tuple of these, meaning their union. With `site.head` set the edit
    sees that head alone. Raises `UsageError` for an unknown word, a mask that selects nothing, or
    the site `pattern` (its rows would no longer sum to one).
    """

    site: Site
    edit: Edit
    where: Where = "all"

    def __post_init__(self) -> None:
        if self.site.name == "pattern":
            raise UsageError(
                f"cannot intervene at {self.site}: its rows would no longer sum to one. Edit z, "
                "q, k or v instead."
            )
        parts = self.where if isinstance(self.where, tuple) else (self.where,)
        if not parts:
            raise UsageError("`where` is empty: it would edit nothing.")
        for part in parts:
            if isinstance(part, str) and part not in WHERE_WORDS:
                near = difflib.get_close_matches(part, WHERE_WORDS, n=1, cutoff=0.0)[0]
                raise UsageError(
                    f"unknown `where` {part!r}: did you mean {near!r}? One of "
                    f"{', '.join(WHERE_WORDS)}, or a mask."
                )
            if isinstance(part, Tensor) and not part.any():
                raise UsageError(
                    "the mask of an intervention selects no token: it would edit nothing."
                )


# the bridge prints each hook it is given, and a dataclass would print its tensors
@dataclass(eq=False, repr=False)
class Firing:
    """The hook of one intervention and its counters: `fired` passes seen, `edited` tokens
    edited.
    """

    intervention: Intervention
    lengths: tuple[int, ...]
    side: str
    start: int = 0
    ahead: int = 0
    fired: int = 0
    edited: int = 0
    _seen: int = 0
    _pads: tuple[int, ...] = ()

    def __call__(
        self, x: Float[Tensor, "batch pos *site"], hook: Any = None
    ) -> Float[Tensor, "batch pos *site"] | None:
        """The edited activations, or None where this pass holds no selected token."""
        absolute = self._absolute(x)
        mask = _select(self.intervention.where, absolute, self.lengths, self.side)
        self.fired += 1
        self.edited += int(mask.sum())
        if not mask.any():
            return None
        new = x.clone()
        head = self.intervention.site.head
        part = new if head is None else new[:, :, head]
        row, column = mask.nonzero(as_tuple=True)
        old = part[row, column]
        edited = self.intervention.edit(old, Selected(row, absolute[row, column]))
        if edited.shape != old.shape or edited.dtype != old.dtype:
            raise InternalError(
                f"an edit at {self.intervention.site} made {edited.dtype} {tuple(edited.shape)} "
                f"of {tuple(old.shape)}."
            )
        part[row, column] = edited
        return new

    def _absolute(self, x: Tensor) -> Int[Tensor, "batch pos"]:
        """Absolute position of each column of this pass; negative on left padding.

        The first pass begins at the column `start`, and its last `ahead` columns stand behind the
        prompts. After it, a step with a cache is one column, and one without re-reads all.
        """
        rows, width = x.shape[:2]
        if rows != len(self.lengths):
            raise InternalError(
                f"{self.intervention.site}: the pass has {rows} rows and the intervention was "
                f"told {len(self.lengths)}."
            )
        if not self.fired:
            start, total = self.start, self.start + width
            if total < max(self.lengths):
                raise InternalError(
                    f"{self.intervention.site}: {total} columns cannot hold {max(self.lengths)} "
                    "tokens."
                )
            self._pads = tuple(
                total - self.ahead - n if self.side == "left" else 0 for n in self.lengths
            )
        elif width in (1, self._seen + 1):
            start = self._seen if width == 1 else 0
        else:
            raise InternalError(
                "`applied` serves one forward pass or one generation: open a new context for the "
                "next."
            )
        self._seen = start + width
        columns = torch.arange(start, start + width, device=x.device)
        return columns - torch.tensor(self._pads, device=x.device)[:, None]


def behind_prompts(intervention: Intervention, rows: Int[Tensor, " row"]) -> Intervention | None:
    """What `intervention` does to tokens that are read behind the prompts, in a batch whose row r
    is row `rows[r]` of its own; None where it leaves them alone, as masks do.
    """
    where = intervention.where if isinstance(intervention.where, tuple) else (intervention.where,)
    if not any(isinstance(part, str) and part in ("all", "generated") for part in where):
        return None

    def edit(x: Float[Tensor, " token *site"], at: Selected) -> Float[Tensor, " token *site"]:
        return intervention.edit(x, Selected(rows.to(at.row.device)[at.row], at.position))

    return Intervention(intervention.site, edit, "generated")


@contextmanager
def applied(
    model: LanguageModel,
    interventions: Sequence[Intervention],
    *,
    lengths: Sequence[int],
    side: str = "right",
    start: int = 0,
    ahead: int = 0,
) -> Iterator[tuple[Firing, ...]]:
    """While open, one forward pass or one generation runs under `interventions`, in their order.

    `lengths` are the rows' prompt lengths in tokens and `side` their padding (`generate` pads
    left); a pass that resumes behind a cache of `start` columns says so, and how many of its
    columns stand behind the prompts (`ahead`). Yields the counters. Raises `UsageError` for a layer
    or head that the model lacks, `InternalError` when hooks were left by someone else, when an
    intervention never fired, or when a hook remains.
    """
    for intervention in interventions:
        _check_site(intervention.site, model)
    _require_clean(model, "before")
    firings = tuple(
        Firing(intervention, tuple(lengths), side, start, ahead) for intervention in interventions
    )
    with model.bridge.hooks(fwd_hooks=_hooks_of(firings)):
        yield firings
    _require_clean(model, "after")
    silent = [str(firing.intervention.site) for firing in firings if not firing.fired]
    if silent:
        raise InternalError(
            f"the interventions at {', '.join(silent)} never fired: the model did not pass there."
        )


def _hooks_of(firings: Sequence[Firing]) -> list[Hook]:
    """Their hooks in their order; those at resid_mid first, which also act on the stream behind the
    block (`edit_hooks`), before any other edit does.
    """
    order = sorted(firings, key=lambda firing: firing.intervention.site.name != "resid_mid")
    return [hook for firing in order for hook in edit_hooks(firing.intervention.site, firing)]


def _require_clean(model: LanguageModel, when: str) -> None:
    left = model.strange_hooks()
    if left:
        raise InternalError(
            f"hooks sit on the model {when} the intervention that were not there when it was "
            f"loaded (or have gone), at {', '.join(left[:5])}: a context was entered twice or a "
            "run was cut short. Give all interventions to one `applied`, or load the model again."
        )


def _check_site(site: Site, model: LanguageModel) -> None:
    if site.layer >= model.dims.n_layers:
        raise UsageError(
            f"{site}: layer {site.layer} is out of range. {model.name} has layers "
            f"0..{model.dims.n_layers - 1}."
        )
    heads = model.dims.n_key_value_heads if site.name in ("k", "v") else model.dims.n_heads
    if site.head is not None and site.head >= heads:
        raise UsageError(
            f"{site}: head {site.head} is out of range. {model.name} has heads 0..{heads - 1} "
            "there."
        )


def _select(
    where: Where, absolute: Int[Tensor, "batch pos"], lengths: Sequence[int], side: str
) -> Bool[Tensor, "batch pos"]:
    if isinstance(where, tuple):
        return torch.stack([_select(part, absolute, lengths, side) for part in where]).any(0)
    length = torch.tensor(lengths, device=absolute.device)[:, None]
    in_prompt = (absolute >= 0) & (absolute < length)
    generated = (absolute >= length) & (side == "left")
    if isinstance(where, Tensor):
        if len(where) != len(lengths):
            raise UsageError(
                f"the mask has {len(where)} rows and the batch {len(lengths)}: give one row per "
                "text."
            )
        inside = (in_prompt | generated) & (absolute < where.shape[1])
        return inside & where.to(absolute.device).gather(1, absolute.clamp(0, where.shape[1] - 1))
    if where in ("last", "opening"):
        return absolute == length - 1
    return {"all": in_prompt | generated, "prompt": in_prompt, "generated": generated}[where]
