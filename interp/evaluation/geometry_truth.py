"""Whether geometry is found where it was made, and not where there is none; and whether a turned
copy of a space is known as one.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from interp.analysis.carried_probes import CARRIED, carried_auroc
from interp.analysis.folds import grouped_folds
from interp.analysis.geometry import distances, label_test, principal_axes, rsa
from interp.analysis.products import Products, gram_of, products, whitened
from interp.analysis.references import wheel_distances
from interp.analysis.spaces import MAPS, cka, explained_by_map, held_out
from interp.evaluation.made import WHEEL, circumplex
from interp.evaluation.planted_bench import PlantedBench
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from interp.stats import Labels
from stimuli.battery import NEUTRAL


def check_geometry(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """A circle of emotions is found (correlation with the wheel, its p, the angles on the first two
    axes), and nothing where the emotions' means are the same.
    """
    made = circumplex(seed, radius=4.0)
    found = _products(*made)
    yield row("geometry", "rsa", "correlation", rsa(found, _wheel(found)).value, "circle")
    yield row("geometry", "rsa", "p", _p(found, seed), "circle")
    raw = products(gram_of(made[0]), made[1], made[2])
    yield row("geometry", "axes", "error", _angle_error(raw), "circle, degrees")
    nothing = _products(*circumplex(seed, radius=0.0))
    yield row("null", "rsa", "p", _p(nothing, seed), "equal means")


def check_spaces(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """The planted model's space and a copy of it that was turned, moved and scaled: CKA, maps, and
    a probe carried over. A random map tells nothing, and shuffled texts have no CKA.
    """
    pairs = bed.battery.pairs()
    x = np.concatenate(bed.values(bed.final, pairs)).astype(np.float64)
    y = ["affective"] * len(pairs) + [NEUTRAL] * len(pairs)
    groups = list(pairs.groups) * 2
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(x.shape[1], x.shape[1])))[0]
    copy = 2.5 * (x @ turn) + random.normal(size=x.shape[1])
    yield row("space", "cka", "error", abs(cka(x, copy) - 1), "turned copy")
    yield row("null", "cka", "cka", cka(x, copy[random.permutation(len(copy))]), "shuffled texts")
    folds = grouped_folds(y, groups, seed=seed)
    for name, what in (("procrustes", "space"), ("linear", "space"), ("random", "null")):
        carried = held_out(x, copy, folds=folds, fit=MAPS[name])
        share, _ = explained_by_map(carried, copy, groups, folds=folds)
        yield row(what, name, "r2", share.value, "turned copy")
    told = carried_auroc(x, copy, y, groups, folds=folds, fit=MAPS["procrustes"])
    yield row("space", "carried_probe", "auroc", told[CARRIED].value, "turned copy")


def _products(x: Float[np.ndarray, "item feature"], labels: Labels, groups: Labels) -> Products:
    return products(whitened(gram_of(x), labels, groups, width=x.shape[1]), labels, groups)


def _wheel(found: Products) -> Float[np.ndarray, "emotion emotion"]:
    return wheel_distances(found.names)


def _p(found: Products, seed: int) -> float:
    return float(label_test(distances(found.whole)[None], _wheel(found), seed=seed).p[0])


def _angle_error(found: Products) -> float:
    """How far the emotions' angles on the first two axes are from the wheel's, at most, once the
    axes are turned (or mirrored) to fit.
    """
    round_ = found.of(WHEEL)
    places = principal_axes(round_.whole, most=2).places
    angle = np.arctan2(places[:, 1], places[:, 0])
    step = 2 * np.pi / len(WHEEL)
    errors = []
    for side in (1, -1):
        turned = side * angle - step * np.arange(len(WHEEL))
        off = np.angle(np.exp(1j * (turned - np.angle(np.exp(1j * turned).sum()))))
        errors.append(float(np.degrees(np.abs(off).max())))
    return min(errors)
