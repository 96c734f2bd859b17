"""Prefix: the part of a batch that no edit touches, run once and kept as a key-value cache.

In a causal model an edit at a position changes nothing before it. A sweep that edits the same texts
many times therefore runs the columns before the first edited one once, and only what follows again
for each edit.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.forward import Encoded, Pass, readers, require_finite
from interp.causal.interventions import Intervention, applied, behind_prompts
from interp.errors import InternalError
from interp.models import LanguageModel
from interp.models.cache import copy_rows, cropped, stacked
from interp.models.editable import Hook
from interp.sites import Site


class Portion(NamedTuple):
    """The most that one run does: tokens that it reads, and bytes of the prefix's keys and values
    that are copied for it.
    """

    tokens: int
    copied: int


ELSEWHERE = Portion(tokens=4096, copied=128 << 20)
"""On every device but a CPU."""


def portion_of(model: LanguageModel) -> Portion:
    """The most that one run does. A CPU gains little by more tokens of a wide model: on SmolLM2 and
    two cores 2048 take as long as 4096 in ablation, 5 % longer in patching, and much less memory.
    """
    if model.device.type != "cpu":
        return ELSEWHERE
    return Portion(tokens=_by_width(model, 512, 4096, values=1 << 20), copied=64 << 20)


def prefix_tokens(model: LanguageModel) -> int:
    """Tokens of the texts that share a prefix. Few: the prefix ends where the first of them is
    edited, so the others' unedited tokens behind that are read again for each edit. The same on
    every device, for random edits are drawn batch by batch.
    """
    return _by_width(model, 512, 1024, values=1 << 18)


def _by_width(model: LanguageModel, least: int, most: int, *, values: int) -> int:
    """So many tokens that one layer's stream holds `values` numbers, between `least` and `most`."""
    return max(least, min(most, values // model.dims.d_model))


def rows_at_once(model: LanguageModel, *, before: int, behind: int) -> int:
    """How many rows one run should have that reads `behind` columns each, after a prefix of
    `before`: their tokens are bounded, and their copies of the prefix's keys and values.
    """
    dims, most = model.dims, portion_of(model)
    copied = (
        2 * dims.n_key_value_heads * dims.d_head * dims.n_layers * before * model.dtype.itemsize
    )
    return max(1, min(most.tokens // behind, most.copied // max(copied, 1)))


def begins_at(site: Site, *, n_layers: int) -> int:
    """The first layer that runs in a pass which edits `site`: behind a block, the next one."""
    return site.layer + (site.name == "resid_post" and site.layer < n_layers - 1)


class Prefix:
    """Texts, left-padded to one width, read up to the first column that an edit may touch.

    `starts` is the first position of each text that later edits may touch; the text's last token is
    never part of the prefix.
    """

    def __init__(
        self, model: LanguageModel, rows: Sequence[Encoded], starts: Sequence[int]
    ) -> None:
        self.model, self.texts = model, tuple(rows)
        self.batch = model.pad([row.tokens for row in rows], side="left")
        self.pads = self.batch.ids.shape[1] - torch.tensor(self.batch.lengths)
        self.column = self._column(starts)
        self._cache: Any = None
        self._streams: dict[tuple[int, ...], Tensor] = {}
        if self.column:
            _, self._cache = model.resume(
                self.batch.ids[:, : self.column], self.batch.mask[:, : self.column]
            )

    def _column(self, starts: Sequence[int]) -> int:
        """The first column that an edit from these positions on may touch."""
        firsts = [
            min(start, length - 1) for start, length in zip(starts, self.batch.lengths, strict=True)
        ]
        return int((self.pads + torch.tensor(firsts)).min())

    def later(self, starts: Sequence[int]) -> "Prefix":
        """The same texts up to later tokens, out of what was read of them already. Where a cache
        holds no longer what it would take (a window that moved on), they are read anew.
        """
        column = self._column(starts)
        if column == self.column:
            return self
        if column < self.column:
            raise InternalError(f"column {column} is before {self.column}, the prefix's own.")
        cache = cropped(self.read_through, column)
        if cache is None:
            return Prefix(self.model, self.texts, starts)
        found, behind = copy.copy(self), column - self.column
        sites = {site: stream[:, behind:] for site, stream in self.clean.sites.items()}
        found.column, found._cache = column, cache
        found.clean = Pass(self.clean.logits, sites, self.pads - column)
        return found

    @property
    def rows_at_once(self) -> int:
        """How many rows one run should have: their tokens and their copies of the prefix are
        bounded.
        """
        return rows_at_once(
            self.model, before=self.column, behind=self.batch.ids.shape[1] - self.column
        )

    @cached_property
    def _whole(self) -> tuple[Pass, Any]:
        """The rest of the texts without an edit, the stream that each block reads there, and the
        cache of all columns.
        """
        sites = [Site("resid_pre", layer) for layer in range(self.model.dims.n_layers)]
        found = self._pass((), sites, range(len(self.texts)), 0)
        own = cropped(found.behind.cache, self.column) if self.column else None
        if own is not None:  # or the prefix would be in memory twice
            self._cache = own
        return found._replace(behind=None), found.behind.cache

    @cached_property
    def clean(self) -> Pass:
        """The rest of the texts without an edit, and the residual stream that each block reads."""
        return self._whole[0]

    @property
    def read_through(self) -> Any:
        """The cache of all texts through their last token, without an edit."""
        return self._whole[1]

    def run(
        self,
        interventions: Sequence[Intervention],
        *,
        read: Sequence[Site] = (),
        rows: Sequence[int] | None = None,
        further: bool = False,
    ) -> Pass:
        """The rest of the texts under `interventions`, whose rows are `rows`: indices of the texts,
        any number of times each (None: all once). `further`: it will be read on behind them.

        Blocks below everything that is edited or read are taken from the clean run; what is edited
        behind a block is edited where the next one reads it, so that the block need not run. Equal
        to a whole pass as long as nothing before `starts` is edited: a mask that asks for it raises
        `InternalError`; a word such as `all` means the rest of the text.
        """
        interventions = self._moved_up(interventions, read)
        touched = [*(one.site for one in interventions), *read]
        lowest = min((site.layer for site in touched), default=0)
        everyone = range(len(self.texts))
        found = self._pass(interventions, read, everyone if rows is None else rows, lowest)
        return found if further else found._replace(behind=None)

    def _moved_up(
        self, interventions: Sequence[Intervention], read: Sequence[Site]
    ) -> list[Intervention]:
        """Edits behind a block, as edits of what the next block reads: it is the same stream. They
        stay where the stream is read behind the block, or touched where the next one reads it.
        """
        touched, found = {*read, *(one.site for one in interventions)}, []
        for one in interventions:
            layer = begins_at(one.site, n_layers=self.model.dims.n_layers)
            above = Site("resid_pre", layer)
            stays = layer == one.site.layer or one.site in read or above in touched
            found.append(one if stays else replace(one, site=above))
        return found

    def further_mask(self, texts: Int[Tensor, " row"], new: int) -> Bool[Tensor, "row pos"]:
        """The mask of these texts with `new` tokens behind each."""
        return torch.cat(
            [self.batch.mask[texts], torch.ones(len(texts), new, dtype=torch.bool)], dim=1
        )

    def streams(self, tokens: tuple[int, ...]) -> Float[Tensor, "layer text new d_model"]:
        """The residual stream that each block reads at `tokens` behind each text, without an
        edit.
        """
        if tokens not in self._streams:
            sites = [Site("resid_pre", layer) for layer in range(self.model.dims.n_layers)]
            most = rows_at_once(self.model, before=self.batch.ids.shape[1], behind=len(tokens))
            parts = []
            for texts in torch.arange(len(self.texts)).split(most):
                kept: dict[Site, Tensor] = {}
                ids = torch.tensor(tokens).expand(len(texts), -1)
                cache, mask = (
                    copy_rows(self.read_through, texts),
                    self.further_mask(texts, len(tokens)),
                )
                self.model.resume(ids, mask, cache, hooks=readers(sites, kept))
                home = kept[sites[0]].device
                parts.append(torch.stack([kept[site].to(home) for site in sites]))
            self._streams[tokens] = torch.cat(parts, dim=1)
        return self._streams[tokens]

    def _pass(
        self,
        interventions: Sequence[Intervention],
        read: Sequence[Site],
        rows: Sequence[int],
        lowest: int,
    ) -> Pass:
        chosen, kept = torch.tensor(rows, dtype=torch.long), dict[Site, Tensor]()
        logits, cache = self.read(interventions, readers(read, kept), chosen, lowest=lowest)
        behind = Behind(self, chosen, cache, lowest, tuple(interventions))
        return Pass(logits, kept, self.pads[chosen] - self.column, behind)

    def read(
        self,
        interventions: Sequence[Intervention],
        hooks: Sequence[Hook],
        rows: Int[Tensor, " row"],
        *,
        lowest: int = 0,
        more: Int[Tensor, "row new"] | None = None,
    ) -> tuple[Float[Tensor, "row d_vocab"], Any]:
        """Logits behind the rest of the texts `rows` (and `more` tokens), and the cache, by a pass
        through the layers from `lowest` on. Raises `InternalError` as `run` does.
        """
        lengths = [self.batch.lengths[i] for i in rows.tolist()]
        self._require_reached(interventions, self.column - self.pads[rows])
        more = torch.empty(len(rows), 0, dtype=torch.long) if more is None else more
        ids, new = torch.cat([self.batch.ids[rows, self.column :], more], dim=1), more.shape[1]
        begin = None
        if lowest:
            stream = self.clean.sites[Site("resid_pre", lowest)]
            begin = self.model.begin(lowest, stream[rows.to(stream.device)])
        where: Any = {"side": "left", "start": self.column, "ahead": new}
        with applied(self.model, interventions, lengths=lengths, **where):
            cache, mask = copy_rows(self._cache, rows, first=lowest), self.further_mask(rows, new)
            logits, cache = self.model.resume(ids, mask, cache, hooks=hooks, begin=begin)
        require_finite(self.model, logits.detach(), [self.texts[i] for i in rows.tolist()])
        return logits, cache

    def _require_reached(
        self, interventions: Sequence[Intervention], first: Int[Tensor, " row"]
    ) -> None:
        for intervention in interventions:
            where = intervention.where
            if isinstance(where, Tensor) and bool(
                (where & (torch.arange(where.shape[1]) < first[: len(where), None])).any()
            ):
                raise InternalError(
                    f"an edit at {intervention.site} asks for a position of the prefix, which "
                    "has been run."
                )


@dataclass(frozen=True, eq=False)
class Behind:
    """Reads on behind the rows of a pass: further tokens, which see the rows as the pass edited
    them.

    `cache` is the pass's, of the layers from `lowest` on; `chosen` are its rows as indices of the
    prefix's texts.
    """

    prefix: Prefix
    chosen: Int[Tensor, " row"]
    cache: Any
    lowest: int
    interventions: tuple[Intervention, ...]

    def rows_at_once(self, length: int) -> int:
        """How many rows `read` should be given for so many tokens each."""
        return rows_at_once(self.prefix.model, before=self.prefix.batch.ids.shape[1], behind=length)

    def read(
        self, rows: Int[Tensor, " row"], ids: Int[Tensor, "row new"]
    ) -> Float[Tensor, "row d_vocab"]:
        """Logits behind the tokens `ids`, each row of them read behind row `rows[i]` of the pass.

        Interventions that reach behind the prompts (`all`, `generated`) act on these tokens, too.
        """
        prefix, texts, new = self.prefix, self.chosen[rows], ids.shape[1]
        lengths = [prefix.batch.lengths[i] for i in texts.tolist()]
        cache, begin = copy_rows(self.cache, rows, first=self.lowest), None
        if self.lowest:  # below, nothing is edited: there the tokens are read once for all passes
            cache = stacked(prefix.read_through, cache, first=self.lowest)
            begin = prefix.model.begin(self.lowest, self._unedited(texts, ids))
        reaching = [behind_prompts(one, rows) for one in self.interventions]
        edits = [one for one in reaching if one is not None]
        start = prefix.batch.ids.shape[1]
        with applied(prefix.model, edits, lengths=lengths, side="left", start=start, ahead=new):
            mask = prefix.further_mask(texts, new)
            logits, _ = prefix.model.resume(ids, mask, cache, begin=begin)
        require_finite(prefix.model, logits, [prefix.texts[i] for i in texts.tolist()])
        return logits

    def _unedited(
        self, texts: Int[Tensor, " row"], ids: Int[Tensor, "row new"]
    ) -> Float[Tensor, "row new d_model"]:
        """What the block `lowest` reads at the tokens `ids` behind `texts`."""
        kinds, which = torch.unique(ids, dim=0, return_inverse=True)
        held = torch.stack([self.prefix.streams(tuple(one))[self.lowest] for one in kinds.tolist()])
        return held[which.to(held.device), texts.to(held.device)]
