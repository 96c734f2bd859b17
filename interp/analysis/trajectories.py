"""Stories whose emotion changes at a known place: token by token along the emotions' directions.

    cosine    of a token's stream less the stories' mean with an emotion's direction
    lead      cosine of the emotion behind the turn less that of the one before it
    shift     mean lead in the window behind the turn less that in the window before it

A shift says that the stream follows the story. The words change at the turn, too, so that it does
not say that anything beyond the words is followed. Beside it stand, at the same places,

    control     what it is
    random      the shift along random directions
    others      the shift along two other emotions' directions
    shuffled    the shift where the story's words were put in another order
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.analysis.circumplex import Ratings
from interp.chance import least_flip_p, permutation_p, sign_flip
from interp.errors import StatisticsError
from interp.stats import mean_interval

WINDOW = 20
"""Tokens before the turn, and from it on, that are looked at."""

LEAST_WINDOW = 3
"""Tokens that a window needs."""

N_PAIRED = 199
"""Pairs of random directions."""

_LEAST_RATED = 4
_BINS = ("near", "middle", "far")


class TurningStory(NamedTuple):
    """The centred cosines of a story's own tokens with the emotions' directions and with random
    ones (pairs side by side), NaN at sinks; the place of the turn's first token among them; the
    numbers of the emotions before and behind it; and the scenario.
    """

    cosines: Float[np.ndarray, "token emotion"]
    random: Float[np.ndarray, "token draw"]
    turn: int
    before: int
    behind: int
    group: str


def centred_cosines_of(
    projections: Float[np.ndarray, "token vector"],
    norms: Float[np.ndarray, " token"],
    along: Float[np.ndarray, " token"],
    centre: Float[np.ndarray, " d_model"],
    vectors: Float[np.ndarray, "vector d_model"],
) -> Float[np.ndarray, "token vector"]:
    """The cosines of x - c with unit vectors v, from x . v, |x|, and x . c / |c| (`along`)."""
    size = float(np.linalg.norm(centre))
    apart = np.sqrt(np.maximum(norms**2 - 2 * size * along + size**2, 1e-24))
    return (projections - vectors @ centre) / apart[:, None]


def lead(story: TurningStory) -> Float[np.ndarray, " token"]:
    """By how much the emotion behind the turn leads the one before it, token by token."""
    return story.cosines[:, story.behind] - story.cosines[:, story.before]


def shifts_at(values: Float[np.ndarray, "token column"], turn: int) -> Float[np.ndarray, " column"]:
    """The mean in the window behind the turn less that in the window before it; NaN where either
    has fewer than `LEAST_WINDOW` tokens that have a value.
    """
    sides = values[max(0, turn - WINDOW) : turn], values[turn : turn + WINDOW]
    means: list[np.ndarray] = []
    for side in sides:
        known = (~np.isnan(side)).sum(axis=0)
        total = np.where(np.isnan(side), 0.0, side).sum(axis=0)
        means.append(np.where(known >= LEAST_WINDOW, total / np.maximum(known, 1), np.nan))
    return means[1] - means[0]


def lead_shift(story: TurningStory) -> float:
    """The shift of the story's own lead; NaN where a window is too narrow."""
    return float(shifts_at(lead(story)[:, None], story.turn)[0])


def trajectory_rows(
    stories: Sequence[TurningStory],
    shuffled: Sequence[TurningStory],
    emotions: Sequence[str],
    ratings: Ratings,
) -> Iterator[dict[str, Any]]:
    """The rows of one place; intervals are over scenarios.

    - `shift` by control: "" with its `p` (one-sided, the pairs of random directions do as much),
      `random` (their mean and the range of 95 % of them), `others`, `shuffled`; `shift_above`: how
      far it lies above `others` and above `shuffled` (`target`), paired.
    - `trajectory` by offset from the turn: the mean cosine of the emotion `before`, `behind`, and
      of all `others` (`arm`).
    - `confusion` by distance in people's ratings from the emotion behind the turn (`arm` near,
      middle, far: thirds of the others) in the window behind it, and `confusion_slope`: the mean
      over stories of the correlation of cosine and distance, with its two-sided `p`.

    Raises `StatisticsError` where no story has windows wide enough.
    """
    own = np.array([lead_shift(one) for one in stories])
    kept = [at for at in range(len(stories)) if np.isfinite(own[at])]
    if not kept:
        raise StatisticsError(
            f"no story has {LEAST_WINDOW} tokens before its turn and from it on: nothing can be "
            "compared."
        )
    told, own = [stories[at] for at in kept], own[kept]
    groups = [one.group for one in told]
    paired = np.stack([shifts_at(one.random, one.turn) for one in told])
    draws = (paired[:, 1::2] - paired[:, ::2]).mean(axis=0)
    p = {"p": permutation_p(float(own.mean()), draws), "least_p": 1 / (1 + len(draws))}
    yield {"metric": "shift", "control": "", **mean_interval(own, groups)._asdict(), **p}
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    known = {"value": float(draws.mean()), "draw_low": low, "draw_high": high, "n": len(draws)}
    yield {"metric": "shift", "control": "random", **known}
    mixed = np.array([lead_shift(shuffled[at]) for at in kept])
    for name, values in (("others", _others(told)), ("shuffled", mixed)):
        at = np.isfinite(values)
        if not at.any():
            continue
        mine = [groups[one] for one in np.flatnonzero(at).tolist()]
        yield {"metric": "shift", "control": name, **mean_interval(values[at], mine)._asdict()}
        above = mean_interval(own[at] - values[at], mine)._asdict()
        yield {"metric": "shift_above", "control": "", "target": name, **above}
    yield from _by_offset(told, groups)
    yield from _confusion(told, groups, emotions, ratings)


def _others(stories: Sequence[TurningStory]) -> Float[np.ndarray, " story"]:
    """The mean shift over all pairs of other emotions is zero by their symmetry, so each story is
    held against one pair: the next two emotions by number. NaN for fewer than four emotions.
    """
    found = []
    for one in stories:
        n = one.cosines.shape[1]
        rest = [at for at in range(n) if at not in (one.before, one.behind)]
        if len(rest) < 2:
            found.append(np.nan)
            continue
        first = (one.before + one.behind) % len(rest)
        pair = rest[first], rest[(first + 1) % len(rest)]
        found.append(lead_shift(one._replace(before=pair[0], behind=pair[1])))
    return np.array(found)


def _by_offset(stories: Sequence[TurningStory], groups: Sequence[str]) -> Iterator[dict[str, Any]]:
    for offset in range(-WINDOW, WINDOW):
        arms: dict[str, list[float]] = {"before": [], "behind": [], "others": []}
        mine = []
        for one, group in zip(stories, groups, strict=True):
            at = one.turn + offset
            if not 0 <= at < len(one.cosines) or np.isnan(one.cosines[at]).any():
                continue
            rest = np.delete(one.cosines[at], [one.before, one.behind])
            arms["before"].append(float(one.cosines[at, one.before]))
            arms["behind"].append(float(one.cosines[at, one.behind]))
            arms["others"].append(float(rest.mean()) if len(rest) else np.nan)
            mine.append(group)
        for arm, values in arms.items():
            if values and not np.isnan(values).any():
                told = mean_interval(np.array(values), mine)._asdict()
                yield {"metric": "trajectory", "control": "", "arm": arm, "offset": offset, **told}


def _confusion(
    stories: Sequence[TurningStory],
    groups: Sequence[str],
    emotions: Sequence[str],
    ratings: Ratings,
) -> Iterator[dict[str, Any]]:
    rated = [at for at, name in enumerate(emotions) if name in ratings]
    if len(rated) < _LEAST_RATED:
        return
    apart = dict(zip(rated, _distances([emotions[at] for at in rated], ratings), strict=True))
    slopes, thirds, mine = [], [], []
    for one, group in zip(stories, groups, strict=True):
        window = one.cosines[one.turn : one.turn + WINDOW]
        window = window[~np.isnan(window).any(axis=1)]
        rest = [at for at in rated if at != one.behind]
        if one.behind not in apart or not len(window):
            continue
        far = apart[one.behind][[rated.index(at) for at in rest]]
        near = window.mean(axis=0)[rest]
        if np.ptp(far) == 0 or np.ptp(near) == 0:
            continue
        slopes.append(float(np.corrcoef(far, near)[0, 1]))
        order = np.argsort(far, kind="stable")
        thirds.append([float(near[part].mean()) for part in np.array_split(order, len(_BINS))])
        mine.append(group)
    if len(slopes) < 2:
        return
    value = np.array(slopes)
    by_group = np.array([value[np.array(mine) == one].mean() for one in dict.fromkeys(mine)])
    p = {"p": sign_flip(by_group), "least_p": least_flip_p(len(by_group), side="two")}
    told = mean_interval(value, mine)._asdict()
    yield {"metric": "confusion_slope", "control": "", **told, **p}
    for at, arm in enumerate(_BINS):
        part = mean_interval(np.array(thirds)[:, at], mine)._asdict()
        yield {"metric": "confusion", "control": "", "arm": arm, **part}


def _distances(
    names: Sequence[str], ratings: Mapping[str, Mapping[str, float]]
) -> Float[np.ndarray, "emotion emotion"]:
    """Distances of emotions by their ratings, each in units of its spread."""
    values = np.array([list(ratings[name].values()) for name in names])
    units = values / np.where(values.std(axis=0) > 0, values.std(axis=0), 1.0)
    apart: np.ndarray = np.sqrt(((units[:, None] - units[None]) ** 2).sum(axis=-1))
    return apart
