"""What may be measured beside a probe's score, where it is asked for: how short a code its labels
have, what is left of it where a nuisance is erased, and which rank the right class has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.analysis.dependence import UNKNOWN_INFLATION
from interp.analysis.erasers import erasing_map
from interp.analysis.features import FoldFeatures
from interp.analysis.folds import Fold, Folds, prefix_folds
from interp.analysis.predictions import Predictions, auroc_share, log_losses, right_ranks
from interp.analysis.probes import predict_folds, probe_named
from interp.errors import UsageError
from interp.shares import share_difference
from interp.stats import Estimate, Labels, codes, jackknife, mean_of

CODE_ORDERS = 4
"""Orders of the scenarios over which a code length is averaged."""


@dataclass(frozen=True, slots=True)
class ProbedPlace:
    """A place that was probed: its rows, the label and scenario of each item, the folds, what the
    probe told, and the nuisances.
    """

    features: FoldFeatures
    y: Shaped[np.ndarray, " item"]
    groups: Shaped[np.ndarray, " item"]
    folds: Folds
    told: Predictions
    nuisances: Mapping[str, Labels]
    probe: str
    seed: int


def compression_rows(place: ProbedPlace) -> list[dict[str, Any]]:
    """Rows `compression` of the labels, and of labels drawn at random for each scenario (control
    "memorisation"): how many times shorter their prequential code is than the uniform one.

    Scenarios come in blocks, each as large as all before it (`prefix_folds`). A label of the first
    block costs log2 K bits, one of a later block -log2 p, by the probe that was fitted on all
    before it; the mean of `CODE_ORDERS` orders. Labels drawn at random come text by text, so that
    they can be remembered. 1 says that nothing was learned, and less that what was
    learned misled. Intervals leave scenarios out, wider by what folds share, and wider again by
    `UNKNOWN_INFLATION`: how sure a probe is of itself varies with what it was fitted on, too. Voita
    & Titov (2020). Raises as `prefix_folds`.
    """
    group, classes = codes(place.groups), np.unique(place.y)
    deal = np.random.default_rng(place.seed).permutation(group.max() + 1) % len(classes)
    rows = [{"metric": "compression", "control": "", **_compression(place, place.y)._asdict()}]
    if np.bincount(group).max() > 1:  # else there is no second text to remember a label by
        drawn = _compression(place, classes[deal[group]], drawn=True)
        rows.append({"metric": "compression", "control": "memorisation", **drawn._asdict()})
    return rows


def _compression(place: ProbedPlace, y: np.ndarray, *, drawn: bool = False) -> Estimate:
    order = np.arange(len(y)) if drawn else place.groups
    bits = np.mean(
        [_bits(place, y, order, seed=place.seed + at) for at in range(CODE_ORDERS)], axis=0
    )
    uniform = np.log2(len(np.unique(y)))

    def shorter(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        return np.asarray(uniform * weights.sum(axis=1) / (weights @ bits))

    wider = UNKNOWN_INFLATION * place.told.inflation
    return jackknife(shorter, place.groups, inflation=wider)


def _bits(place: ProbedPlace, y: np.ndarray, order: Labels, *, seed: int) -> np.ndarray:
    """What each label costs, in one order of the scenarios."""
    kind = probe_named(place.probe)
    folds = prefix_folds(y, order, seed=seed, ungrouped=len(np.unique(order)) == len(y))
    told = predict_folds(
        lambda fold: place.features.of(fold, turned=kind.turns),
        y,
        order,
        folds=folds,
        kind=kind,
        grids=[kind.grid] * len(folds),
    )
    bits = np.full(len(y), np.log2(len(told.classes)))
    own = np.searchsorted(np.array(told.classes), told.y)
    bits[told.rows] = log_losses(told.probability, own) / np.log(2)
    return bits


def erased_rows(place: ProbedPlace) -> list[dict[str, Any]]:
    """Rows of each nuisance (`target`), erased by LEACE from a fold's rows as its training rows
    teach it: the AUROC that is left (control "erased"), and `erased_change`, how far that lies
    above the plain one, paired by scenario.

    The probe keeps the settings that it chose for the plain rows. Belrose et al. (2023).
    """
    kind, rows = probe_named(place.probe), []
    of_plain = auroc_share(place.told)
    for name, labels in place.nuisances.items():
        told = predict_folds(
            partial(_erased, place=place, labels=np.asarray(labels), turned=kind.turns),
            place.y,
            place.groups,
            folds=[replace(fold, inner=()) for fold in place.folds],
            kind=kind,
            grids=[(setting,) for setting in place.told.chosen],
        )
        left = auroc_share(told)
        change = share_difference(left, of_plain, place.told.groups)
        common = {"control": "erased", "target": name}
        rows += [
            {**common, "metric": "auroc", **left.estimate(told.groups)._asdict()},
            {**common, "metric": "erased_change", **change._asdict()},
        ]
    return rows


def _erased(
    fold: Fold, *, place: ProbedPlace, labels: np.ndarray, turned: bool
) -> Float[np.ndarray, "item axis"]:
    z = np.asarray(place.features.of(fold, turned=turned), dtype=np.float64)
    projection, centre = erasing_map(z[fold.train], labels[fold.train])
    return z - (z - centre) @ projection.T


def rank_rows(place: ProbedPlace) -> list[dict[str, Any]]:
    """The row `right_rank`: the mean rank of the right class among all, 1 the first; (K + 1) / 2 by
    chance. Nothing for two classes.
    """
    told = place.told
    if len(told.classes) < 3:
        return []
    mean = jackknife(mean_of(right_ranks(told)), told.groups, inflation=told.inflation)
    return [{"metric": "right_rank", "control": "", **mean._asdict()}]


AT_A_PLACE: dict[str, Callable[[ProbedPlace], list[dict[str, Any]]]] = {
    "mdl": compression_rows,
    "erased": erased_rows,
    "rank": rank_rows,
}
"""What is measured at every place, by name."""

OVER_LAYERS = "depth"
"""What is measured over the layers of a site (`interp.analysis.depths`)."""

BESIDE_PROBES: dict[str, str] = {
    "mdl": "how short a code the labels have by the probe",
    "erased": "the score where each nuisance is erased",
    "rank": "the rank of the right class",
    "depth": "from which layer on the labels are read",
}
"""What may be measured beside a probe's score, and what it is; a study does what `--beside`
names."""


def beside_named(names: str | None) -> tuple[str, ...]:
    """The names between commas; raises `UsageError` for an unknown one."""
    asked = tuple(one.strip() for one in (names or "").split(",") if one.strip())
    for name in asked:
        if name not in BESIDE_PROBES:
            raise UsageError(
                f"nothing is called {name!r}: choose among {', '.join(BESIDE_PROBES)}."
            )
    return asked
