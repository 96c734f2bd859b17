"""How often each p of a study rejects where there is nothing: data without any effect, by the name
of the p.

To let a further p be checked, write a function from a seed to p, and its line in `TESTS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from interp.analysis import lengths
from interp.analysis.controls import inner_correlations, permutation_null, relabellings
from interp.analysis.design import Design
from interp.analysis.folds import grouped_folds
from interp.analysis.geometry import distances, label_test
from interp.analysis.nested import choose_places, joined, nested_separation
from interp.analysis.persistence import Followed, follow
from interp.analysis.probes import Predictions, cross_validate
from interp.analysis.products import gram_of, products
from interp.analysis.references import wheel_distances
from interp.analysis.refits import null_of, refit_null, refitted
from interp.analysis.site_probes import Task, prepare
from interp.analysis.stats import max_t
from interp.analysis.transfer import ArmRows, ArmTask, prepare_arms
from interp.causal.restoration import Key, gates, nested_restoration
from interp.chance import assignment_p, sign_flip, strata_p
from interp.errors import StatisticsError
from interp.evaluation.made import circumplex, emotions, twins
from interp.sites import Site
from interp.stats import Labels

N_PERM = 199


def _p(data: Callable[[int], tuple[Any, Labels, Labels]], seed: int, *, sites: int = 1) -> float:
    """p of one site, or the least family-wise p of several that share the most of their noise."""
    x, y, groups = data(seed)
    folds = grouped_folds(y, groups, seed=seed)
    labellings = relabellings(Design.infer(y, groups), folds=folds, n_perm=N_PERM, seed=seed)
    random = np.random.default_rng(seed)
    nulls = [
        permutation_null(x + 0.5 * i * random.normal(size=x.shape), labellings, folds=folds)
        for i in range(sites)
    ]
    if sites == 1:
        return nulls[0].p
    return float(
        max_t(
            np.array([null.observed for null in nulls]),
            np.stack([null.draws for null in nulls], axis=1),
        ).min()
    )


def _gate(seed: int) -> float:
    effects, at = np.random.default_rng(seed).standard_t(5, size=64), np.arange(64)
    found = gates(effects, at, {str(one): at // 8 == one for one in range(8)} | {"all": at >= 0})
    return min(gate["p_corrected"] for gate in found.values())


def sites_of(
    seed: int, *, n: int, shift: float, apart: float = 1.0, count: int = 4
) -> tuple[list[np.ndarray], Task]:
    """Sites that share the most of their noise (`apart`: how much each has of its own), and their
    task.
    """
    x, y, groups = twins(seed, n=n, shift=shift)
    random = np.random.default_rng(seed)
    task = prepare(
        "reception", Design.infer(y, groups), n_splits=min(5, n), n_perm=N_PERM, seed=seed
    )
    return [x + i * apart * random.normal(size=x.shape) for i in range(count)], task


ChosenPlaces = Int[np.ndarray, "fold draw"]


def chosen_site(
    sites: list[np.ndarray], task: Task, *, settings: list[dict[str, float]] | None = None
) -> tuple[Predictions, ChosenPlaces]:
    """What is predicted where every fold chose its site, and the choices under each labelling."""
    found = [
        cross_validate(site, task.y, task.groups, folds=task.folds, settings=settings)
        for site in sites
    ]
    chosen = choose_places(
        np.array([inner_correlations(site, task.labellings, folds=task.folds) for site in sites])
    )
    if chosen is None:
        raise StatisticsError(
            f"{len(set(task.groups))} scenarios are too few to choose a site on: calibrate with "
            "more."
        )
    return joined(found, chosen[:, 0]), chosen


def _nested_p(apart: float, count: int, seed: int) -> float:
    """The p of the AUROC that a sentence is told of, each fold choosing among `count` sites."""
    sites, task = sites_of(seed, n=16, shift=0.0, apart=apart, count=count)
    told, chosen = chosen_site(sites, task, settings=[{"C": 0.1}] * len(task.folds))
    return refit_null(
        lambda: [({}, site) for site in sites], told, chosen, task.labellings, folds=task.folds
    ).p


def _direction_p(seed: int) -> float:
    """The p that twins differ at any of six layers."""
    random = np.random.default_rng(seed)
    x, _, groups = twins(seed, n=16, edit=1.0)
    layers = [x + 0.5 * i * random.normal(size=x.shape) for i in range(6)]
    pairs = [(layer[::2], layer[1::2]) for layer in layers]
    (row,) = nested_separation(pairs, [{}] * len(pairs), groups[::2], seed=seed)
    return float(row["p"])


def _assignment_p(seed: int) -> float:
    """Eight directions that do the same to every prompt, each something else, and each a little to
    all emotions.
    """
    random = np.random.default_rng(seed)
    return assignment_p(
        random.normal(size=(8, 8)) + random.normal(size=(8, 1)) + random.normal(size=8), seed=seed
    )


def _strata_p(seed: int) -> float:
    """Eight emotions' chosen components beside twelve random sets each, of unequal and heavy-tailed
    effects.
    """
    random = np.random.default_rng(seed)
    effects = random.standard_t(3, size=(8, 13)) * random.exponential(size=(8, 1))
    return strata_p(effects[:, 0], list(effects[:, 1:]), n_perm=999, seed=seed)


def _first_p(seed: int) -> float:
    """A component that ranks first on other pairs, and does nothing."""
    return sign_flip(np.random.default_rng(seed).standard_t(3, size=12), side="above", seed=seed)


def _restored_p(seed: int) -> float:
    """The p that any of 20 sites restores something, each fold choosing its own."""
    random = np.random.default_rng(seed)
    moved: dict[Key, np.ndarray] = {
        (Site("resid_post", at), "last", ""): random.standard_t(5, size=16) for at in range(20)
    }
    below = 3 + random.normal(size=16)
    return float(nested_restoration(moved, below, np.arange(16), seed=seed)[0]["p"])


def _length_p(n: int, seed: int) -> float:
    noise = np.random.default_rng(seed).normal(size=(n, 64))
    return lengths.length_p(noise, np.arange(n), n_perm=N_PERM, seed=seed)


FOLLOWED_OFFSETS = (0, 1, 2, 4)


def followed(seed: int, *, n: int, shift: float, kept: Sequence[float]) -> Followed:
    """What is read behind twins that differ by the share `kept` of `shift` at each offset."""
    x, y, groups = twins(seed, n=n)
    noise = np.random.default_rng(seed).normal(size=(len(x), len(FOLLOWED_OFFSETS), x.shape[1]))
    states = x[:, None] + noise
    states[::2, :, 0] += shift * np.array(kept)
    return follow(states, y, groups, offsets=FOLLOWED_OFFSETS, n_splits=min(5, n), seed=seed)


class ArmCase(NamedTuple):
    """The activations of two arms, the question, and what a probe of one arm says of all texts."""

    x: np.ndarray
    task: ArmTask
    told: Predictions


def carried(seed: int, *, n: int, shift: float) -> tuple[ArmCase, Predictions]:
    """Scenarios that two arms tell, half of their noise the same, and what a probe of the first arm
    predicts of the second.
    """
    x, y, groups = twins(seed, n=n, shift=shift)
    again = 0.5 * (x + twins(10**7 + seed, n=n, shift=shift)[0])
    both, arms = np.concatenate([x, again]), np.repeat(["rich", "free"], len(x)).tolist()
    splits = min(5, n)
    task = prepare_arms("reception", ArmRows([*y, *y], [*groups, *groups], arms), n_splits=splits)
    told = cross_validate(
        both,
        task.y,
        task.groups,
        folds=task.folds("rich"),
        settings=[{"C": 0.1}] * splits,
        parts=task.arms,
    )
    of_free = told.of_part("free", task.arms[told.rows] == "free")
    return ArmCase(both, task, told), replace(of_free, drawn=True)


def _carried_p(seed: int) -> float:
    """The p of a probe of one arm on the texts of the other."""
    (x, task, told), free = carried(seed, n=16, shift=0.0)
    folds = task.folds("rich")
    chosen = np.zeros((len(folds), len(task.labellings)), dtype=np.int64)
    draws = refitted(lambda: [({}, x)], told, chosen, task.labellings, folds=folds)
    return null_of(free, draws, task.labellings).p


def _followed_p(seed: int) -> float:
    """The least p of all offsets."""
    return float(followed(seed, n=16, shift=0.0, kept=(1.0,) * 4).p_max_t.min())


def _laid_p(seed: int) -> float:
    """The p that eight emotions without any order lie as on the wheel."""
    x, labels, groups = circumplex(seed, n=5, radius=0.0, d=12)
    found = products(gram_of(x), labels, groups)
    return float(label_test(distances(found.whole)[None], wheel_distances(found.names)).p[0])


TESTS: dict[str, Callable[[int], float]] = {
    "reception p": partial(_p, partial(twins, n=24)),
    "reception p, retold, one edit a scenario": partial(_p, partial(twins, n=16, told=3, edit=2.0)),
    "categorisation p": partial(_p, partial(emotions, n=40)),
    "categorisation p, 4 of 40 scenarios crossed": partial(_p, partial(emotions, n=40, crossed=4)),
    "reception p, any of 8 sites (max-T)": partial(_p, partial(twins, n=24), sites=8),
    "probe p, place chosen out of 4 alike": partial(_nested_p, 0.5, 4),
    "probe p, place chosen out of 8 unlike": partial(_nested_p, 5.0, 8),
    "patching's gate, any of 8 emotions": _gate,
    "norm p": partial(_length_p, 16),
    "direction p, any of 6 layers (max-T)": _direction_p,
    "patching p, site chosen out of 20": _restored_p,
    "contribution p": _first_p,
    "ablation p, 8 emotions together": _strata_p,
    "steering p, emotions dealt to directions": _assignment_p,
    "transfer p": _carried_p,
    "persistence p, any of 4 offsets (max-T)": _followed_p,
    "geometry p, emotions change places": _laid_p,
}
"""Name -> seed -> p, on data without any effect."""
