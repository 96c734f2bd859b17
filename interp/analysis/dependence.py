"""What makes a held-out score vary more, or less, than a jackknife over its scenarios says.

*Folds share training scenarios.* Scenario j teaches the probe that tests i, and i the one that
tests j. What both learn of each other by accident is the same number twice, so that two scenarios'
scores vary together. By the ridge probe, whose scores are linear in the labels, g_ij is what j's
labels add to i's margin; with the effect of being i and of being j taken off, g_ij g_ji is their
covariance. Summed over all pairs it is as much again as the margins' own variance where the labels
mean nothing (compare Bates, Hastie & Tibshirani 2024), and next to nothing where the effect is
large.

*An AUROC compares two scenarios at a time.* What a comparison has of its own, beyond both
scenarios' parts, the jackknife counts for both (Efron & Stein 1981). It is taken off once, as the
variance of data in pairs does (Aronow, Samii & Assenova 2015).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from sklearn.utils.extmath import randomized_svd

from interp.analysis.features import Features
from interp.stats import MOST_BLOCKS, Labels, LeftOut, numbered

RIDGE = 0.1
"""Penalty of the ridge probe, as a share of the number of training items (of standardised
features).
"""

UNKNOWN_INFLATION = float(np.sqrt(2))
"""What is taken where it is not known what is shared: what is expected where the labels mean
nothing, which is as much as the score's own variance, and the most that can be expected.
"""

LARGEST_SHARE = 2.0
"""The most that a measured share counts for. It varies around what is expected, with few scenarios
by as much again; held at what is expected at most, it would be too small on average.
"""

COMPARED_ONE_BY_ONE = 1_000_000
"""Comparisons of an AUROC that are made one by one."""

MOST_AXES = 128
"""Axes of sparse training rows that `influence` sees."""


def blocks_of(groups: Labels) -> Int[np.ndarray, " item"]:
    """The number of each item's scenario, several of them together where there are very many."""
    return numbered(groups) % MOST_BLOCKS


def influence(
    z: Features,
    y: Shaped[np.ndarray, " item"],
    block: Int[np.ndarray, " item"],
    train: Int[np.ndarray, " _"],
    test: Int[np.ndarray, " _"],
) -> Float[np.ndarray, "block block"]:
    """g: what each training block (column) adds to the margins of each block of tested rows, by a
    ridge probe of every class on the features `z`. Zero for what is not tested or not trained on.

    Of sparse features the `MOST_AXES` strongest axes of the training rows are inverted, and the
    rest counts as small beside the penalty: nothing square is made, and what is shared comes out
    right or a little too large.
    """
    return influences(z, y, block, train, test, part=np.zeros(z.shape[0], dtype=np.int64))[0]


def influences(
    z: Features,
    y: Shaped[np.ndarray, " item"],
    block: Int[np.ndarray, " item"],
    train: Int[np.ndarray, " _"],
    test: Int[np.ndarray, " _"],
    *,
    part: Int[np.ndarray, " item"],
) -> Float[np.ndarray, "part block block"]:
    """`influence` on the tested rows of each part, which are numbered from 0.

    With y and y' the classes of two rows and p the classes' shares of the training rows, the
    centred codes of all classes multiply to [y = y'] - p_y - p_y' + sum p^2. So of three classes or
    more each is read of its own rows alone, and two codes of all rows do the rest.
    """
    member = np.asarray(y)[:, None] == np.unique(y)
    share = member[train].mean(axis=0)
    if len(share) == 2:  # the second of two classes mirrors the first
        return 2 * taught(z, member[:, :1] - share[:1], block, train, test, part=part)
    own = member @ share
    whole = np.ones_like(own)
    codes = [(one, one) for one in member.T.astype(float)]
    codes += [((share**2).sum() - own, whole), (-whole, own)]
    return _taught(z, codes, block, train, test, part=part)


def taught(
    z: Features,
    coded: Float[np.ndarray, "item target"],
    block: Int[np.ndarray, " item"],
    train: Int[np.ndarray, " _"],
    test: Int[np.ndarray, " _"],
    *,
    part: Int[np.ndarray, " item"],
) -> Float[np.ndarray, "part block block"]:
    """`influences` of the ridge probe of each of several numbers, from which the mean over the
    training rows is taken off; summed over them.
    """
    return _taught(z, [(one, one) for one in coded.T], block, train, test, part=part)


def _taught(
    z: Features,
    codes: Sequence[tuple[np.ndarray, np.ndarray]],
    block: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    *,
    part: np.ndarray,
) -> Float[np.ndarray, "part block block"]:
    """The sum over `codes`, each a number of the tested rows and one of the training rows."""
    n_blocks = int(block.max()) + 1
    scores = np.zeros((int(part.max()) + 1, n_blocks, n_blocks))
    join = _ridge(z[train])
    tested = {int(number): test[part[test] == number] for number in np.unique(part[test])}
    for of_test, of_train in codes:
        learned = _block_sums(of_train, block, n_blocks, train) @ z
        for number, rows in tested.items():
            scores[number] += join(_block_sums(of_test, block, n_blocks, rows) @ z, learned)
    return scores


def _block_sums(
    code: np.ndarray, block: np.ndarray, n_blocks: int, rows: np.ndarray | None = None
) -> sparse.csr_array:
    """The matrix that sums these rows (None: all), times their codes, block by block."""
    rows = np.arange(len(code)) if rows is None else rows
    rows = rows[code[rows] != 0]
    return sparse.csr_array((code[rows], (block[rows], rows)), (n_blocks, len(code)))


def _ridge(rows: Features) -> Callable[[Features, Features], np.ndarray]:
    """(a, b) -> a (Z'Z + penalty)^-1 b' of training rows Z, by the smaller of the Gram matrices; of
    sparse rows by their strongest axes.
    """
    penalty = RIDGE * rows.shape[0]
    if isinstance(rows, sparse.csr_array):
        n_axes = min(MOST_AXES, *rows.shape)
        _, spread, axes = randomized_svd(rows, n_axes, n_iter=4, random_state=0)
        weight = spread**2 / (spread**2 + penalty)
        return lambda a, b: ((a @ b.T).toarray() - (a @ axes.T * weight) @ (b @ axes.T).T) / penalty
    rows = rows.astype(np.float64)
    if rows.shape[1] <= len(rows):
        factor = cho_factor(rows.T @ rows + penalty * np.eye(rows.shape[1]))
        return lambda a, b: a @ cho_solve(factor, b.T)
    factor = cho_factor(rows @ rows.T + penalty * np.eye(len(rows)))
    return lambda a, b: (a @ b.T - (a @ rows.T) @ cho_solve(factor, rows @ b.T)) / penalty


def shared_inflation(g: Float[np.ndarray, "block block"]) -> float:
    """How much wider the interval of a held-out score is than its scenarios say, from `influence`
    summed over folds: `inflation_of` what their scores share over what they vary by.
    """
    used = g != 0
    own = g.sum(axis=1)[used.any(axis=1)]
    if len(own) < 2 or not np.ptp(own):
        return UNKNOWN_INFLATION
    rest = _rest(g, used)
    share = float((rest * rest.T).sum() / ((own - own.mean()) ** 2).sum())
    return inflation_of(share)


def drawn_inflation(g: Float[np.ndarray, "block block"]) -> float:
    """How much wider the interval of a score is where the training scenarios count as drawn, too.

    A probe of one arm may point along what tells another arm's labels by accident of the scenarios
    that it was fitted on; these tell all tested scenarios the same accident, of which their own
    scores know nothing. Scenario k has part in the mean margin as one that is tested and as one
    that teaches: the squares of both together, less the square of what each pair of scenarios has
    in common, which that counts twice (Efron & Stein 1981), over what the tested scenarios vary by.
    What makes all margins longer alike changes no AUROC and is taken off (the margins are divided
    by their root mean square).
    """
    used = g != 0
    tested, teaching = used.any(axis=1), used.any(axis=0)
    own = g.sum(axis=1)
    if tested.sum() < 2 or not np.ptp(own[tested]):
        return UNKNOWN_INFLATION
    mean, square = own[tested].mean(), (own[tested] ** 2).mean()
    spread = float(((own[tested] - mean) ** 2).sum())
    scaled = g * (1 - mean * own / square)[:, None]
    taught = scaled.sum(axis=0)
    parts = np.where(tested, own - mean, 0.0)
    parts += np.where(teaching, taught - taught[teaching].mean(), 0.0)
    both = np.triu(rest := _rest(scaled, used)) + np.tril(rest).T
    total = float((parts**2).sum() - (both**2).sum())
    return float(np.sqrt(max(total / spread, 1.0)))


def _rest(
    g: Float[np.ndarray, "block block"], used: np.ndarray
) -> Float[np.ndarray, "block block"]:
    """What is left of g when the effect of being tested and that of teaching are taken off."""
    of_row, of_column = (g.sum(axis=axis) / np.maximum(used.sum(axis=axis), 1) for axis in (1, 0))
    return (g - of_row[:, None] - of_column + g.sum() / used.sum()) * used


def inflation_of(share: float) -> float:
    """How much wider an interval is where scores share `share` of what they vary by: the root of
    1 + share, which is held between 0 and `LARGEST_SHARE`.
    """
    return float(np.sqrt(1 + min(max(share, 0.0), LARGEST_SHARE)))


class OverScenarios(NamedTuple):
    """A mean of AUROCs without each scenario in turn, and its variance over scenarios (NaN for one
    scenario).
    """

    left_out: LeftOut
    variance: float


def auroc_over(
    scores: Sequence[Float[np.ndarray, " item"]],
    positive: Sequence[Bool[np.ndarray, " item"]],
    *,
    strata: Int[np.ndarray, " item"],
    groups: Labels,
) -> OverScenarios:
    """The mean of AUROCs, one per pair of `scores` and `positive`, whose items are compared inside
    `strata`, over scenarios (`blocks_of`).

    Each comparison's part in the mean belongs to one or two scenarios. For the variance the squares
    of all that a scenario has part in are summed, less the square of what each pair of scenarios
    has in common, which that counts twice; it is never less than those squares.
    """
    block, n_groups = blocks_of(groups), int(numbered(groups).max()) + 1
    n = int(block.max()) + 1
    values = [_won(one, truth, strata) for one, truth in zip(scores, positive, strict=True)]
    of_scenario, of_pairs = np.zeros(n), 0.0
    left = np.array([[value * compared, compared] for value, compared in values])[:, :, None]
    left = np.repeat(left, n, axis=2)  # what is won and compared, without each block
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        parts = np.zeros((n, n))
        for at, (one, truth) in enumerate(zip(scores, positive, strict=True)):
            high, low = rows[truth[rows]], rows[~truth[rows]]
            won = _won_by_block(one, high, low, block)
            met = np.outer(*(np.bincount(block[side], minlength=n) for side in (high, low)))
            value, compared = values[at]
            parts += (won - value * met) / compared / len(scores)
            left[at] -= np.stack([_part_of_each(won), _part_of_each(met)])
        of_scenario += _part_of_each(parts)
        of_pairs += float((np.triu(parts + parts.T, 1) ** 2).sum())
    mean = float(np.mean([value for value, _ in values]))
    if n < 2:
        return OverScenarios(LeftOut(mean, np.full(n, np.nan), n_groups), np.nan)
    whole = np.full((len(values), n), np.nan)
    without = np.divide(left[:, 0], left[:, 1], out=whole, where=left[:, 1] > 0).mean(axis=0)
    variance = max(float((of_scenario**2).sum()) - of_pairs, of_pairs) * n / (n - 1)
    return OverScenarios(LeftOut(mean, without, n_groups), variance)


def _part_of_each(between: Num[np.ndarray, "block block"]) -> Num[np.ndarray, " block"]:
    """Of what stands between blocks, as much as each has part in, on either side."""
    return np.asarray(between.sum(axis=0) + between.sum(axis=1) - np.diag(between))


def _won_by_block(
    scores: np.ndarray, high: np.ndarray, low: np.ndarray, block: np.ndarray
) -> Float[np.ndarray, "block block"]:
    """How many comparisons the rows `high` of each block (row) win over the rows `low` of each
    block (column), a tie counting half. Many rows are sorted, not compared one by one: rows times
    blocks, and not their square.
    """
    n = int(block.max()) + 1
    if len(high) * len(low) <= COMPARED_ONE_BY_ONE:
        mine, theirs = scores[high][:, None], scores[low]
        each = ((mine > theirs).astype(float) + (mine >= theirs)) / 2
        return _into_blocks(block[high], n) @ (each @ _into_blocks(block[low], n).T)
    order = low[np.argsort(scores[low])]
    beaten = np.zeros((len(low) + 1, n))  # of each block, by a row that stands behind so many
    beaten[np.arange(len(low)) + 1, block[order]] = 1
    np.cumsum(beaten, axis=0, out=beaten)
    won = np.zeros((n, n))
    for side in ("left", "right"):
        behind = np.searchsorted(scores[order], scores[high], side)
        halves = np.full(len(high), 0.5)
        won += sparse.csr_array((halves, (block[high], behind)), (n, len(low) + 1)) @ beaten
    return won


def _into_blocks(block: np.ndarray, n: int) -> sparse.csr_array:
    """The matrix that sums rows block by block."""
    return _block_sums(np.ones(len(block)), block, n)


def _won(scores: np.ndarray, positive: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    """The AUROC inside strata, and the number of comparisons that it is of."""
    won = compared = 0.0
    for stratum in np.unique(strata):
        high, low = scores[positive & (strata == stratum)], scores[~positive & (strata == stratum)]
        ordered = np.sort(low)
        won += (
            float(
                (
                    np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")
                ).sum()
            )
            / 2
        )
        compared += len(high) * len(low)
    return (won / compared, compared) if compared else (np.nan, 1.0)
