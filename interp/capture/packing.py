"""Packing: which texts share a batch, and which batches a shard.

Texts of one length are in the order of a digest of their tokens. Who shares a batch decides the
last digits of an activation; so these do not depend on the order of the rows in a file.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

Numbers = tuple[tuple[int, ...], ...]

TEXTS_PER_SHARD = 64
LEAST_SHARD, MOST_SHARD = 64 << 20, 1 << 30
"""Bytes of a shard, as float32, where nobody says how many."""


def shard_bytes_for(held: Sequence[int]) -> int:
    """Bytes of a shard, where a text keeps `held` bytes: room for `TEXTS_PER_SHARD` of the largest,
    within bounds. A shard is built in memory; but each costs a line and an index, however small.
    """
    return min(max(TEXTS_PER_SHARD * max(held), LEAST_SHARD), MOST_SHARD)


def longest_first(rows: Sequence[Sequence[int]], ids: Sequence[str]) -> list[int]:
    """Places of the texts whose tokens are `rows`, in the order in which they are computed.

    The longest comes first, those of one length by a digest of their tokens. Only texts of the very
    same tokens are told apart by their ids.
    """
    keys = [(-len(row), _digest_of(row), name) for row, name in zip(rows, ids, strict=True)]
    return sorted(range(len(rows)), key=keys.__getitem__)


def _digest_of(tokens: Sequence[int]) -> bytes:
    return hashlib.sha256(np.asarray(tokens, dtype="<i8").tobytes()).digest()


def budget_batches(
    lengths: Sequence[int],
    held: Sequence[int],
    *,
    order: Sequence[int],
    token_budget: int,
    most_bytes: int,
) -> Numbers:
    """The places `order`, longest first, cut so that texts x longest stays within the token budget
    and what is kept of them (`held` bytes per text) within a shard; one text always fits.
    """
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    kept = 0
    for place in order:
        wide = current and (len(current) + 1) * lengths[current[0]] > token_budget
        if wide or (current and kept + held[place] > most_bytes):
            batches.append(tuple(current))
            current, kept = [], 0
        current.append(place)
        kept += held[place]
    return (*batches, tuple(current)) if current else tuple(batches)


def gather_shards(sizes: Sequence[int], *, most_bytes: int, most_batches: int) -> Numbers:
    """Consecutive batches of `sizes` bytes gathered into shards, each ended by its bytes or its
    number of batches.
    """
    shards: list[tuple[int, ...]] = []
    current: list[int] = []
    held = 0
    for number, size in enumerate(sizes):
        if current and (held + size > most_bytes or len(current) >= most_batches):
            shards.append(tuple(current))
            current, held = [], 0
        current.append(number)
        held += size
    return (*shards, tuple(current)) if current else tuple(shards)
