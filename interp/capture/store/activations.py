"""Activations of one site and position rule as an array whose rows are named by their texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.capture.store.shard_record import ShardRecord
from interp.errors import ArtefactError, UsageError
from interp.sites import Site
from stimuli.battery import Pair

Shape = tuple[int, ...]

Twins = tuple[Float[np.ndarray, "pair ..."], Float[np.ndarray, "pair ..."]]
"""What pairs' affective texts hold, and their neutral texts."""


@dataclass(frozen=True)
class Activations:
    """Activations of one site under one position rule, rows aligned with `items`, always finite.

    `x` is [item, d_model], [item, head, d_head] or [item, d_mlp]. For the rule `all`, and for
    attention patterns, rows are tokens and `lengths` says how many each item has; `of` cuts them
    out.
    """

    x: Float[np.ndarray, "row ..."]
    site: Site
    position: str
    items: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    lengths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        rows = len(self.items) if self.lengths is None else sum(self.lengths)
        if len(self.x) != rows or (
            self.lengths is not None and len(self.lengths) != len(self.items)
        ):
            raise ArtefactError(
                f"{self.site}/{self.position}: {len(self.x)} rows for {len(self.items)} items "
                f"({rows} expected)."
            )
        if not np.isfinite(self.x).all():
            raise ArtefactError(
                f"{self.site}/{self.position} holds a missing or non-finite row: verify the store."
            )

    def of(self, item: str) -> Float[np.ndarray, "..."]:
        """The row of an item, or its tokens' rows [token, ...]. Raises `UsageError` for an item
        that is not here.
        """
        self._require([item])
        place = self._row_of[item]
        if self.lengths is None:
            return self.x[place]
        return self.x[self._starts[place] : self._starts[place + 1]]

    def select(self, items: Iterable[str]) -> Float[np.ndarray, "item ..."]:
        """The rows of these items, in this order. Raises `UsageError` for unpooled rows and for an
        item that is not here.
        """
        if self.lengths is not None:
            raise UsageError(
                f"{self.site}/{self.position} holds a row per token: use `of`, an item at a time."
            )
        wanted = list(items)
        self._require(wanted)
        return self.x[[self._row_of[item] for item in wanted]]

    def twins(self, pairs: Sequence[Pair]) -> Twins:
        """The rows of the pairs' affective and of their neutral texts. Raises as `select`."""
        affective, neutral = ([pair[side].id for pair in pairs] for side in (0, 1))
        return self.select(affective), self.select(neutral)

    @cached_property
    def _row_of(self) -> Mapping[str, int]:
        return {item: row for row, item in enumerate(self.items)}

    @cached_property
    def _starts(self) -> Sequence[int]:
        """Where each item's rows begin, and where the last one's end."""
        return np.cumsum([0, *(self.lengths or ())]).tolist()

    def _require(self, wanted: Sequence[str]) -> None:
        unknown = [item for item in wanted if item not in self._row_of]
        if unknown:
            raise UsageError(
                f"{self.site}/{self.position} has no item {', '.join(map(repr, unknown[:5]))}."
            )


def check_width(record: ShardRecord, name: str, found: Shape, expected: Shape) -> None:
    """Raise `ArtefactError` unless a shard's rows are as wide as those of the run's other
    shards.
    """
    if found != expected:
        raise ArtefactError(
            f"{name} of shard {record.file} has rows of shape {found}, and another shard of its "
            f"run {expected}: one of them is not of this run. Capture into another --out."
        )
