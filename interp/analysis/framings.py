"""Framings: what the sentence before a task does to the stream behind the task, and to the score.

A framing (calm, pressure, threat, ...) has several wordings, each put before the same tasks. The
wordings are the scenarios: what is claimed of a framing should hold of its other wordings, too.
Wording w of a framing is paired with wording w of calm; x_w is the difference of their means over
the tasks.

    shift_square   x_v . x_w over wordings v other than w: the squared length of the mean difference
                   from calm, without what single wordings add; it is zero where there is none
    cosine         of the mean differences of two framings, from such products alone
    axes           principal axes of the framings' means, calm among them, from such products

Any sentence before a task moves the stream: beside each framing stands one of sentences that say
nothing (`NEUTRAL_FRAMING`). Compare *Under Pressure*: norms by layer, components, cosines.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped

from interp.analysis.geometry import explained_shares, principal_axes
from interp.analysis.products import Products, cosines_of, gram_of, products
from interp.errors import StatisticsError
from interp.results import TableRow, TableRows
from interp.shares import Share, share_difference
from interp.stats import Estimate, Labels, estimate_of, mean_interval, mean_of, reach_of

CALM, NEUTRAL_FRAMING = "calm", "neutral"
"""The framing that all are held against, and that of sentences which say nothing."""

STRESSFUL = ("pressure", "urgency", "shame", "threat")
"""The framings that a scan of tokens is of."""

BY_TASK = "by_task"
"""What `control` says of a score whose interval is over tasks and not over wordings."""

MOST_AXES_DRAWN = 2

WordingMeans = Mapping[str, Float[np.ndarray, "wording d_model"]]
"""By framing, the mean over the tasks behind each wording."""


def shift_rows(means: WordingMeans, *, stream_norm: float) -> TableRows:
    """Rows of `shift_square` by `framing`, as a share of the stream's squared norm, and of
    `shift_square_above`, less that of `NEUTRAL_FRAMING`; the intervals leave out wordings.

    Raises as `products`: three wordings are needed.
    """
    found = _from_calm(means)
    whole, left = _squares(found, stream_norm)
    beside = found.names.index(NEUTRAL_FRAMING)
    rows: TableRows = []
    for place, name in enumerate(found.names):
        if name == CALM:
            continue
        told = {"framing": name, "control": _as_control(name), "target": ""}
        own = _left_out(whole[place], left[:, place], found.n)
        rows.append({**told, "metric": "shift_square", **own._asdict()})
        if place != beside:
            more = _left_out(
                whole[place] - whole[beside], left[:, place] - left[:, beside], found.n
            )
            told = {**told, "target": NEUTRAL_FRAMING}
            rows.append({**told, "metric": "shift_square_above", **more._asdict()})
    return _told(rows)


def scan_rows(means: WordingMeans, *, stream_norm: float) -> TableRows:
    """Rows of one layer and token: `scan`, the mean of `shift_square` over the framings that are
    `STRESSFUL`, and that of `NEUTRAL_FRAMING` (`control`); and `scan_above`, the difference.

    Raises as `products`.
    """
    found = _from_calm(means)
    whole, left = _squares(found, stream_norm)
    beside = found.names.index(NEUTRAL_FRAMING)
    told = [at for at, name in enumerate(found.names) if name in STRESSFUL]
    (mean, left_mean), (nothing, left_nothing) = (
        (whole[at].mean(), left[:, at].mean(axis=1)) for at in (told, [beside])
    )
    above = _left_out(mean - nothing, left_mean - left_nothing, found.n)
    rows: TableRows = [
        {"metric": "scan", "control": control, "target": "", **_left_out(*one, found.n)._asdict()}
        for control, one in (("", (mean, left_mean)), (NEUTRAL_FRAMING, (nothing, left_nothing)))
    ]
    rows.append(
        {"metric": "scan_above", "control": "", "target": NEUTRAL_FRAMING, **above._asdict()}
    )
    return _told([{"framing": "stress", **row} for row in rows])


def space_rows(means: WordingMeans, *, stream_norm: float) -> TableRows:
    """Rows of one layer: the `cosine` of each two framings' differences from calm (`framing`,
    `target`; NaN where wordings hardly repeat one), where each framing lies on the first two
    principal axes (`axis`, in shares of the stream's norm, without an interval), and what these
    explain (`explained`). A warning says where there are no axes.
    """
    found = _from_calm(means)
    others = found.of([name for name in found.names if name != CALM])
    cosine = cosines_of(others.whole, np.diag(others.biased))
    left = np.array([cosines_of(one, np.diag(others.biased)) for one in others.without])
    rows: TableRows = [
        {
            "metric": "cosine",
            "framing": one,
            "target": other,
            **_inside(_left_out(cosine[a, b], left[:, a, b], others.n), 1.0)._asdict(),
        }
        for a, one in enumerate(others.names)
        for b, other in enumerate(others.names)
        if a != b
    ]
    try:
        places = principal_axes(found.whole, most=MOST_AXES_DRAWN).places / stream_norm
        shares = explained_shares(found, most=MOST_AXES_DRAWN)
    except StatisticsError:
        warnings.warn(
            "the framings have no principal axes: their means differ by no more than single "
            "wordings do.",
            stacklevel=2,
        )
        return _told([{"control": "", **row} for row in rows])
    for axis, share in enumerate(shares):
        told = {"target": f"axis {axis + 1}"}
        rows.append({**told, "framing": "", "metric": "explained", **share._asdict()})
        for name, place in zip(found.names, places[:, axis].tolist(), strict=True):
            value = Estimate(place, np.nan, np.nan, found.n)
            rows.append({**told, "framing": name, "metric": "axis", **value._asdict()})
    return _told([{"control": "", **row} for row in rows])


def projection_rows(
    means: WordingMeans, steps: Mapping[str, Float[np.ndarray, " d_model"]]
) -> TableRows:
    """Rows of `shift`: what a framing adds along each emotion's direction (`target`), calm's taken
    off, and of `shift_above`, less `NEUTRAL_FRAMING`. `steps` project to natural lengths.
    """
    rows: TableRows = []
    for name in (one for one in means if one != CALM):
        for metric, base in (("shift", CALM), ("shift_above", NEUTRAL_FRAMING)):
            if base == name:
                continue
            more = (means[name] - means[base]).astype(np.float64)
            for target, step in steps.items():
                told = {"framing": name, "control": _as_control(name), "target": target}
                own = mean_interval(more @ step, np.arange(len(more)))
                rows.append({**told, "metric": metric, **own._asdict()})
    return _told(rows)


def behaviour_rows(
    margins: Mapping[str, Float[np.ndarray, "wording task"]], pairs: Labels
) -> TableRows:
    """Rows of `accuracy` (the share of tasks whose right answer is likelier than the wrong one) and
    `margin` (by how much, in nats) by `framing`, with `*_above`, less calm, paired by wording; and
    of all tasks under calm with an interval over the `pairs` of tasks (`BY_TASK`), which says
    whether the model can do them at all.
    """
    calm, rows = margins[CALM], []
    wordings = np.repeat(np.arange(len(calm)), calm.shape[1])
    right = {name: _right(one) for name, one in margins.items()}
    for name, one in margins.items():
        told = {"framing": name, "control": _as_control(name), "target": ""}
        found = {
            "accuracy": right[name].estimate(wordings),
            "margin": mean_interval(one.ravel(), wordings),
        }
        rows += [{**told, "metric": metric, **own._asdict()} for metric, own in found.items()]
        if name != CALM:
            above = {
                "accuracy_above": share_difference(right[name], right[CALM], wordings),
                "margin_above": mean_interval((one - calm).ravel(), wordings),
            }
            told = {**told, "target": CALM}
            rows += [{**told, "metric": metric, **own._asdict()} for metric, own in above.items()]
    every = right[CALM].estimate(np.tile(np.asarray(pairs), len(calm)))
    by_task = {"framing": CALM, "control": BY_TASK, "target": ""}
    rows.append({**by_task, "metric": "accuracy", **every._asdict()})
    return _told(rows)


def is_right(margins: Float[np.ndarray, "*text"]) -> Bool[np.ndarray, "*text"]:
    """Whether the right answer is the likelier one."""
    return margins > 0


def _right(margins: Float[np.ndarray, "wording task"]) -> Share:
    return Share(mean_of(is_right(margins).ravel().astype(float)))


def _from_calm(means: WordingMeans) -> Products:
    rows = np.concatenate([one - means[CALM] for one in means.values()])
    sizes = [len(one) for one in means.values()]
    labels: Shaped[np.ndarray, " row"] = np.repeat(list(means), sizes)
    return products(gram_of(rows), labels, np.concatenate([np.arange(n) for n in sizes]))


def _squares(
    found: Products, stream_norm: float
) -> tuple[Float[np.ndarray, " framing"], Float[np.ndarray, "block framing"]]:
    """The squared shifts of the framings, as shares of the stream's squared norm, of all wordings
    and without each in turn.
    """
    whole, left = (
        np.diagonal(one, axis1=-2, axis2=-1) / stream_norm**2
        for one in (found.whole, found.without)
    )
    return whole, left


def _left_out(value: float, left: Float[np.ndarray, " wording"], n: int) -> Estimate:
    reach = reach_of(left)
    return estimate_of(float(value), float(value) - reach, float(value) + reach, n)


def _inside(one: Estimate, most: float) -> Estimate:
    low, high = np.clip([one.ci_low, one.ci_high], -most, most).tolist()
    return one._replace(ci_low=low, ci_high=high)


def _as_control(name: str) -> str:
    return name if name == NEUTRAL_FRAMING else ""


def _told(rows: Sequence[TableRow]) -> TableRows:
    return [{"method": "framings", **row} for row in rows]
