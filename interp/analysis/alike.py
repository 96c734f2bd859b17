"""Sets that are nearly alike, found without comparing every set with every other.

The prefix filter of AllPairs (Bayardo, Ma & Srikant 2007, "Scaling up all pairs similarity
search"): two sets of which one holds more than a share t of the other's members have one of their
rarest members in common. Of a set of n members the rarest n - t n are enough to look at, and a rare
member is held by few sets, so few pairs are met. What is met is then compared in full: the answer
is exact.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from interp.stats import Labels, codes

_AT_ONCE = 2_000_000
"""Members that are compared at once: this bounds the memory, whatever the number of sets."""

_SLACK = 1e-9


class Alike(NamedTuple):
    """Pairs of rows, the first of a pair before the second, and the share that they have in
    common.
    """

    one: Int[np.ndarray, " pair"]
    other: Int[np.ndarray, " pair"]
    share: Float[np.ndarray, " pair"]


def alike(sets: sparse.csr_array, groups: Labels, *, above: float) -> Iterator[Alike]:
    """The pairs of rows of different groups whose Jaccard index is over `above`, in blocks.

    `sets` has one row per set and one column per member, 1 where the set holds it. Pairs come
    sorted by their first row, then by their second. Time and memory grow with the members and with
    the pairs that `candidates` meets, not with the square of the rows.
    """
    size = np.diff(sets.indptr)
    for one, other in candidates(sets, groups, above=above):
        for part in _blocks(size[one] + size[other]):
            a, b = one[part], other[part]
            common = np.asarray(sets[a].multiply(sets[b]).sum(axis=1)).ravel()
            share = common / (size[a] + size[b] - common)
            found = share > above
            yield Alike(a[found], b[found], share[found])


def candidates(
    sets: sparse.csr_array, groups: Labels, *, above: float
) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
    """The pairs of rows that `alike` compares in full: none over `above` is missing.

    They are of different groups, share one of their rarest members, and neither is so much larger
    that the share could not be reached.
    """
    size, group = np.diff(sets.indptr), codes(groups)
    rare = _rarest(sets, size - np.floor(above * size - _SLACK).astype(np.int64))
    holders = rare.T.tocsr()
    for block in _blocks(rare @ np.diff(holders.indptr)):
        met = sparse.csr_array(rare[block] @ holders)
        met.sort_indices()
        first, other = met.nonzero()
        one = first + block.start
        fits = np.minimum(size[one], size[other]) > above * np.maximum(size[one], size[other])
        kept = (one < other) & (group[one] != group[other]) & fits
        yield one[kept], other[kept]


def _rarest(sets: sparse.csr_array, n: Int[np.ndarray, " row"]) -> sparse.csr_array:
    """Of each row its `n` members that fewest rows hold."""
    held = np.bincount(sets.indices, minlength=sets.shape[1])
    rank = np.empty(len(held), dtype=np.int64)
    rank[np.argsort(held, kind="stable")] = np.arange(len(held))
    row = np.repeat(np.arange(sets.shape[0]), np.diff(sets.indptr))
    order = np.lexsort((rank[sets.indices], row))
    kept = np.arange(len(row)) - sets.indptr[row] < n[row]
    members = sets.indices[order[kept]]
    ends = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(n)))])
    return sparse.csr_array((np.ones(len(members), dtype=np.int64), members, ends), sets.shape)


def _blocks(work: Int[np.ndarray, " row"]) -> Iterator[slice]:
    """Rows in blocks whose work together stays below `_AT_ONCE`, or of a single row."""
    ends = np.cumsum(work)
    start = 0
    while start < len(work):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop
