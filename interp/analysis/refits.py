"""The p of a nested AUROC: how often relabelled texts score as high, all that was chosen chosen
anew.

For each relabelling every fold takes the place that is best on its own training scenarios under
*those* labels, the probe is fitted there, and its held-out scores give the same AUROC as the true
labels' do. So the p is of the number that it stands beside, and allows for the choice among places.
Only the penalty is not chosen anew: each fold keeps the one that it chose for the true labels.

Source: Ojala & Garriga (2010), test 1, on the relabellings that the design allows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.controls import Null
from interp.analysis.features import features_of
from interp.analysis.folds import Fold, Folds
from interp.analysis.predictions import Predictions, auroc_statistic
from interp.analysis.probes import PROBES, fit_predict
from interp.analysis.spread import share_out
from interp.defaults import PROBE

REFITS = 199
"""Relabellings that are refitted: p reaches .005."""

SiteRows = tuple[Mapping[str, Any], Float[np.ndarray, "item feature"]]
Sites = Callable[[], Iterable[SiteRows]]
"""Each call goes through all places anew: what to write in a place's rows, and its activations."""


def refit_null(
    sites: Sites,
    told: Predictions,
    chosen: Int[np.ndarray, "fold draw"],
    labellings: Int[np.ndarray, "draw item"],
    *,
    folds: Folds,
    probe: str = PROBE,
) -> Null:
    """The macro AUROC of `told`, and of each relabelling (row 0 of `labellings` is the true one).

    `chosen` holds the number of the place that each fold takes under each labelling; `told` are the
    held-out predictions of the true one, whose settings are kept.
    """
    probability = refitted(sites, told, chosen, labellings, folds=folds, probe=probe)
    return null_of(told, probability, labellings)


def refitted(
    sites: Sites,
    told: Predictions,
    chosen: Int[np.ndarray, "fold draw"],
    labellings: Int[np.ndarray, "draw item"],
    *,
    folds: Folds,
    probe: str = PROBE,
) -> Float[np.ndarray, "draw item class"]:
    """The held-out probabilities that each relabelling's probes give the rows that `folds` test,
    with the settings of `told`; zero for the true labelling and for what is not tested.
    """
    probability = np.zeros((*labellings.shape, len(told.classes)))
    taken = set(chosen[:, 1:].ravel().tolist())
    places = ((place, x) for place, (_, x) in enumerate(sites()) if place in taken)
    refit = partial(
        _at_place,
        chosen=chosen,
        labellings=labellings,
        folds=folds,
        probe=probe,
        settings=told.chosen,
    )
    for place in share_out(refit, places):
        for draws, test, found in place:
            probability[draws[:, None], test] = found
    return probability


Refitted = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Float[np.ndarray, "_ _ class"]]
"""Some relabellings, a fold's test rows, and the probabilities that these have by those."""


def _at_place(
    place: tuple[int, Float[np.ndarray, "item feature"]],
    *,
    chosen: Int[np.ndarray, "fold draw"],
    labellings: Int[np.ndarray, "draw item"],
    folds: Folds,
    probe: str,
    settings: Sequence[Mapping[str, float]],
) -> list[Refitted]:
    """What is refitted at one place: in each fold, the relabellings that took it."""
    number, x = place
    n_classes = int(labellings.max()) + 1
    found = []
    for fold, own, setting in zip(folds, chosen, settings, strict=True):
        draws = np.flatnonzero(own[1:] == number) + 1
        if len(draws):
            told = _refit(x, labellings[draws], fold, probe, n_classes, setting)
            found.append((draws, fold.test, told))
    return found


def null_of(
    told: Predictions,
    probability: Float[np.ndarray, "draw item class"],
    labellings: Int[np.ndarray, "draw item"],
) -> Null:
    """The macro AUROC of the rows that `told` tests, as they are and under each relabelling.

    A relabelling that leaves no two classes to be compared in any fold is no draw.
    """
    classes, whole = np.array(told.classes), np.ones((1, len(told.rows)))
    tested = zip(probability[1:, told.rows], classes[labellings[1:]][:, told.rows], strict=True)
    relabelled = (replace(told, probability=scores, y=labels) for scores, labels in tested)
    drawn = np.array([_auroc(one, whole) for one in relabelled])
    return Null(_auroc(told, whole), drawn[np.isfinite(drawn)])


def _auroc(told: Predictions, whole: Float[np.ndarray, "1 item"]) -> float:
    return float(auroc_statistic(told)(whole)[0])


def _refit(
    x: Float[np.ndarray, "item feature"],
    labels: Int[np.ndarray, "draw item"],
    fold: Fold,
    probe: str,
    n_classes: int,
    setting: Mapping[str, float],
) -> Float[np.ndarray, "draw test class"]:
    """The probabilities of the fold's test rows by the probe that each relabelling's training rows
    give.
    """
    kind = PROBES[probe]
    z = features_of(x, fold, turned=kind.turns)
    if kind.fit_many is not None:
        train, test = z[fold.train], z[fold.test]
        return kind.fit_many(train, labels[:, fold.train], test, n_classes=n_classes, **setting)
    probability = np.zeros((len(labels), len(fold.test), n_classes))
    rows = (fold.train, fold.test)
    for own, one in zip(probability, labels, strict=True):
        if len(np.unique(one[fold.train])) < 2:
            continue  # one class teaches nothing: all scores stay equal
        # What goes wrong in a fit is told of the true labels, and not once more of each
        # relabelling.
        (fitted,) = fit_predict(z, one, rows, kind.make, (setting,), set())
        own[:, fitted.classes] = fitted.probability
    return probability
