"""Persistence: does what is read at a text's last token stay, while the model reads on?

Behind each text stands a neutral continuation, the same one behind a text and its twin. A ridge
probe learns from the states at the texts' last tokens, offset 0, and reads the states k tokens
behind them, of scenarios that it has not seen:

    score(text, k) = x(text, k) . (Z'Z + RIDGE n I)^-1 Z' y

Z and y are of offset 0 and of the training scenarios alone, so that nothing of the continuation is
ever learned from. At each offset the scores of one fold are compared with each other (AUROC): what
the continuation itself adds is the same on both sides of a pair. The margin, how much higher the
affective texts score than their twins, is told as a share of that at offset 0 (`retained`); the
half-life is the offset at which it falls to one half.

Beside it stands a probe that was fitted at offset k itself. Where it still reads what the probe of
the text's end no longer does, the state may be there in another form. It has no p of its own.

p refits the probe for every relabelling of scenarios (`Design.relabel`), the labels changed at all
offsets at once, and is corrected over the offsets (Westfall & Young 1993). Attention may look back
at the text from any later token: that a state persists does not say that it is carried and not read
off the text anew. What the words of the text alone tell is the same at every offset.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.stats import rankdata

from interp.analysis.controls import Null, least_relabelled_p, relabellings, ridge_reader
from interp.analysis.dependence import blocks_of, influences
from interp.analysis.design import Design
from interp.analysis.features import check_features, standardiser
from interp.analysis.folds import Folds, fold_of, grouped_folds
from interp.analysis.predictions import Predictions
from interp.analysis.stats import max_t
from interp.chance import permutation_p
from interp.errors import DataError
from interp.stats import Estimate, Labels, codes, ratio_interval

FOLLOWED_REFITS = 199
"""Relabellings that are refitted: p reaches .005."""

StateRows = Float[np.ndarray, "text offset d_model"]


@dataclass(frozen=True, slots=True)
class Followed:
    """What a probe of the texts' last tokens reads of the tokens behind them.

    `offsets` begin with 0, the texts' last token. `told` are the held-out scores at each, with what
    their intervals need; `nulls` the AUROC at each and of each relabelling; `folds` those of the
    texts. `own` are the held-out scores of a probe that was fitted at each offset itself. `least_p`
    is the smallest p that so few scenarios allow.
    """

    offsets: tuple[int, ...]
    told: tuple[Predictions, ...]
    own: tuple[Predictions, ...]
    nulls: tuple[Null, ...]
    folds: Folds
    least_p: float

    @property
    def p(self) -> Float[np.ndarray, " offset"]:
        """The p of each offset alone."""
        return np.array([permutation_p(one.observed, one.draws) for one in self.nulls])

    @property
    def p_max_t(self) -> Float[np.ndarray, " offset"]:
        """The p of each offset beside all others; 1 where all texts score alike, whatever their
        labels.
        """
        observed = np.array([one.observed for one in self.nulls])
        draws = np.stack([one.draws for one in self.nulls], axis=1)
        varies, found = draws.std(axis=0) > 0, np.ones(len(observed))
        if varies.any():
            found[varies] = max_t(observed[varies], draws[:, varies])
        return found


def follow(
    states: StateRows,
    y: Labels,
    groups: Labels,
    *,
    offsets: tuple[int, ...],
    n_splits: int = 5,
    seed: int = 0,
) -> Followed:
    """Fit at offset 0 and read at all `offsets`, on held-out scenarios (`groups`).

    Raises `DataError` where offsets and states do not agree or states are not finite; else as
    `grouped_folds` and `Design.relabel`.
    """
    if offsets[:1] != (0,) or states.shape[1] != len(offsets):
        raise DataError(
            f"{states.shape[1]} states of every text came with the offsets {offsets}: one for "
            "each, the first of them 0."
        )
    labels, names = np.asarray(y).astype(str), np.asarray(groups).astype(str)
    for at in range(len(offsets)):
        check_features(states[:, at], labels)
    folds = grouped_folds(labels, names, n_splits=n_splits, seed=seed)
    labellings = relabellings(
        Design.infer(labels, names), folds=folds, n_perm=FOLLOWED_REFITS, seed=seed
    )
    scores, aurocs = _read(states, labellings, folds)
    told = _told(scores, states, (labels, names), folds)
    alone = [states[:, [at]] for at in range(len(offsets))]
    own = [_told(_read(x, labellings[:1], folds)[0], x, (labels, names), folds)[0] for x in alone]
    nulls = tuple(Null(float(one[0]), one[1:]) for one in aurocs)
    return Followed(offsets, told, tuple(own), nulls, folds, least_relabelled_p(labellings))


def _told(
    scores: Float[np.ndarray, "text offset class"],
    states: StateRows,
    of_text: tuple[Shaped[np.ndarray, " text"], Shaped[np.ndarray, " text"]],
    folds: Folds,
) -> tuple[Predictions, ...]:
    """The scores at each offset, with the label and the scenario `of_text`, and what their
    intervals need.
    """
    labels, names = of_text
    classes = tuple(str(one) for one in np.unique(labels))
    rows, number = np.arange(len(labels)), fold_of(folds, len(labels))
    return tuple(
        Predictions(
            scores[:, at], classes, labels, names, number, rows,
            chosen=(), influence=taught, drawn=at > 0,
        )
        for at, taught in enumerate(_taught(states, labels, names, folds))
    )  # fmt: skip


def retained(told: Followed) -> tuple[Estimate, ...]:
    """The margin of affective texts above their twins at each offset, as a share of that at offset
    0, with Fieller's interval over scenarios; for two labels of which every scenario has both
    equally often. It has no bounds where the margin at offset 0 may be zero.
    """
    first = _margins(told.told[0])
    return tuple(ratio_interval(_margins(one), first, one.groups) for one in told.told)


def _margins(told: Predictions) -> Float[np.ndarray, " text"]:
    """Each text's part in the margin: its score for the second label, minus where it has the
    first.
    """
    return told.probability[:, 1] * np.where(told.y == told.classes[1], 1.0, -1.0)


def half_life(offsets: tuple[int, ...], kept: tuple[Estimate, ...]) -> Estimate:
    """The offset at which the retained share first falls to one half, and where the bounds of its
    interval do: NaN where that is at no offset that was read. `n` is that of the shares.

    Between offsets the share is taken as linear in log(1 + k).
    """
    value, low, high = (
        _crossing(offsets, [getattr(one, name) for one in kept])
        for name in ("value", "ci_low", "ci_high")
    )
    return Estimate(value, low, high, kept[0].n)


def _crossing(offsets: tuple[int, ...], shares: list[float]) -> float:
    places = np.log1p(np.array(offsets, dtype=float))
    # at offset 0 the share is 1 by definition, whatever its interval
    curve = np.array([1.0, *shares[1:]])
    below = np.flatnonzero(~(curve > 0.5))
    if not len(below) or np.isnan(curve[below[0]]):
        return np.nan
    at = below[0]
    part = (curve[at - 1] - 0.5) / (curve[at - 1] - curve[at])
    return float(np.expm1(places[at - 1] + part * (places[at] - places[at - 1])))


def _read(
    states: StateRows, labellings: Int[np.ndarray, "draw text"], folds: Folds
) -> tuple[Float[np.ndarray, "text offset class"], Float[np.ndarray, "offset draw"]]:
    """The held-out scores under the true labels, and the macro AUROC under each labelling."""
    n_texts, n_offsets, _ = states.shape
    n_classes = int(labellings[0].max()) + 1
    asked = range(1, 2) if n_classes == 2 else range(n_classes)
    scores = np.zeros((n_texts, n_offsets, n_classes))
    won, compared = (np.zeros((n_offsets, n_classes, len(labellings))) for _ in range(2))
    for fold in folds:
        test = states[fold.test].reshape(len(fold.test) * n_offsets, -1)
        read = ridge_reader(states[fold.train, 0], test)
        for one in asked:
            learned, truth = (labellings[:, rows] == one for rows in (fold.train, fold.test))
            found = read(learned - learned.mean(axis=1, keepdims=True))
            found = found.reshape(len(labellings), len(fold.test), n_offsets)
            scores[fold.test, :, one] = found[0]
            for at in range(n_offsets):
                more = _comparisons(found[:, :, at], truth)
                won[at, one] += more[0]
                compared[at, one] += more[1]
    if n_classes == 2:
        scores[:, :, 0] = -scores[:, :, 1]
    counted = compared[:, list(asked)]
    shares = np.divide(won[:, list(asked)], counted, out=np.zeros_like(counted), where=counted > 0)
    return scores, shares.sum(axis=1) / np.maximum((counted > 0).sum(axis=1), 1)


def _comparisons(
    scores: Float[np.ndarray, "draw test"], truth: Shaped[np.ndarray, "draw test"]
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """How many comparisons of a positive with a negative are won, a tie counting half, and how many
    there are (Mann-Whitney).
    """
    positive = truth.sum(axis=1).astype(float)
    ranks = (rankdata(scores, axis=1) * truth).sum(axis=1)
    return ranks - positive * (positive + 1) / 2, positive * (scores.shape[1] - positive)


def _taught(
    states: StateRows,
    labels: Shaped[np.ndarray, " text"],
    names: Shaped[np.ndarray, " text"],
    folds: Folds,
) -> list[Float[np.ndarray, "block block"]]:
    """What the scenarios teach the margins of each other, at each offset."""
    n_texts, n_offsets, width = states.shape
    stacked = states.reshape(n_texts * n_offsets, width)
    wide = [np.repeat(one, n_offsets) for one in (codes(labels), blocks_of(names))]
    part = np.tile(np.arange(n_offsets), n_texts)
    every = np.arange(n_texts * n_offsets).reshape(n_texts, n_offsets)
    found = []
    for fold in folds:
        z = standardiser(states[fold.train, 0])(stacked)
        train, test = every[fold.train, 0], every[fold.test].ravel()
        found.append(influences(z, wide[0], wide[1], train, test, part=part))
    return list(np.sum(found, axis=0))
