"""Prefix: the part of a batch that no edit touches, run once and kept as a key-value cache.

In a causal model an edit at a position changes nothing before it. A sweep that edits the same texts many times therefore runs
the columns before the first edited one once, and only what follows again for each edit.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.causal.interventions import Intervention, applied
from interp.causal.passes import Encoded, Pass, readers, require_finite
from interp.errors import InternalError
from interp.models import LanguageModel
from interp.models.cache import rows_of
from interp.sites import Site

TOKENS_AT_ONCE = 4096
COPIED_BYTES = 128 << 20


def rows_at_once(model: LanguageModel, *, before: int, behind: int) -> int:
    """How many rows one run should have that reads `behind` columns each, after a prefix of `before`:
    their tokens are bounded, and their copies of the prefix's keys and values.
    """
    dims = model.dims
    copied = 2 * dims.n_key_value_heads * dims.d_head * dims.n_layers * before * model.dtype.itemsize
    return max(1, min(TOKENS_AT_ONCE // behind, COPIED_BYTES // max(copied, 1)))


class Prefix:
    """Texts, left-padded to one width, read up to the first column that an edit may touch.

    `starts` is the first position of each text that later edits may touch; the text's last token is
    never part of the prefix.
    """

    def __init__(self, model: LanguageModel, rows: Sequence[Encoded], starts: Sequence[int]) -> None:
        self.model, self.texts = model, tuple(rows)
        self.batch = model.pad([row.tokens for row in rows], side="left")
        self.pads = self.batch.ids.shape[1] - torch.tensor(self.batch.lengths)
        firsts = [min(start, length - 1) for start, length in zip(starts, self.batch.lengths, strict=True)]
        self.column = int((self.pads + torch.tensor(firsts)).min())
        self._cache: Any = None
        if self.column:
            _, self._cache = model.resume(self.batch.ids[:, : self.column], self.batch.mask[:, : self.column])

    @property
    def rows_at_once(self) -> int:
        """How many rows one run should have: their tokens and their copies of the prefix are bounded."""
        return rows_at_once(self.model, before=self.column, behind=self.batch.ids.shape[1] - self.column)

    @cached_property
    def clean(self) -> Pass:
        """The rest of the texts without an edit, and the residual stream that each block reads."""
        layers = range(self.model.dims.n_layers)
        return self._pass((), [Site("resid_pre", layer) for layer in layers], range(len(self.texts)), 0)

    def run(
        self,
        interventions: Sequence[Intervention],
        *,
        read: Sequence[Site] = (),
        rows: Sequence[int] | None = None,
    ) -> Pass:
        """The rest of the texts under `interventions`, whose rows are `rows`: indices of the texts,
        any number of times each (None: all once).

        Blocks below everything that is edited or read are taken from the clean run. Equal to a
        whole pass as long as nothing before `starts` is edited: a mask that asks for it raises
        `InternalError`; a word such as `all` means the rest of the text.
        """
        touched = [*(one.site for one in interventions), *read]
        lowest = min((site.layer for site in touched), default=0)
        return self._pass(interventions, read, range(len(self.texts)) if rows is None else rows, lowest)

    def _pass(self, interventions: Sequence[Intervention], read: Sequence[Site], rows: Sequence[int], lowest: int) -> Pass:
        chosen = torch.tensor(rows, dtype=torch.long)
        ids, mask = self.batch.ids[chosen, self.column :], self.batch.mask[chosen]
        lengths = [self.batch.lengths[i] for i in chosen.tolist()]
        self._require_reached(interventions, self.column - self.pads[chosen])
        begin = None
        if lowest:
            stream = self.clean.sites[Site("resid_pre", lowest)]
            begin = self.model.begin(lowest, stream[chosen.to(stream.device)])
        kept: dict[Site, Tensor] = {}
        with applied(self.model, interventions, lengths=lengths, side="left", start=self.column):
            cache = rows_of(self._cache, chosen, first=lowest)
            logits, _ = self.model.resume(ids, mask, cache, hooks=readers(read, kept), begin=begin)
        require_finite(self.model, logits, [self.texts[i] for i in chosen.tolist()])
        return Pass(logits, kept, self.pads[chosen] - self.column)

    def _require_reached(self, interventions: Sequence[Intervention], first: Int[Tensor, " row"]) -> None:
        for intervention in interventions:
            where = intervention.where
            if isinstance(where, Tensor) and bool((where & (torch.arange(where.shape[1]) < first[: len(where), None])).any()):
                raise InternalError(f"an edit at {intervention.site} asks for a position of the prefix, which has been run.")
