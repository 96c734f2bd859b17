"""Made data: activations whose truth is known, for calibrations and tables of power."""

import numpy as np
from jaxtyping import Float


def twins(
    seed: int,
    *,
    n: int,
    told: int = 1,
    shift: float = 0.0,
    edit: float = 0.0,
    d: int = 8,
) -> tuple[Float[np.ndarray, "item d"], list[str], list[int]]:
    """Activations, labels and scenarios of `n` scenarios told in `told` pairs of twins.

    Twins share their scenario and their pair; affective ones are `shift` further along one axis,
    and `edit` is what all affective texts of a scenario have by accident. Axes differ in their
    noise.
    """
    random = np.random.default_rng(seed)

    def noise(rows: int) -> Float[np.ndarray, "row d"]:
        return random.normal(size=(rows, d))

    groups, pairs = np.repeat(np.arange(n), 2 * told), np.repeat(np.arange(n * told), 2)
    affective = np.tile([True, False], n * told)
    x = noise(len(groups)) + noise(n)[groups] + noise(n * told)[pairs]
    x[affective] += edit * noise(n)[groups[affective]]
    x *= np.linspace(0.5, 3, d)
    x[affective, 0] += shift
    return x, np.where(affective, "affective", "neutral").tolist(), groups.tolist()


def emotions(
    seed: int, *, n: int, crossed: int = 0
) -> tuple[Float[np.ndarray, "item d"], list[str], list[int]]:
    """Activations without emotion, labels of four, and scenarios, `crossed` of which are told under
    two.
    """
    random = np.random.default_rng(seed)
    y, groups = np.tile(["anger", "fear", "joy", "trust"], n // 4), np.arange(n)
    for one in range(crossed):
        groups[4 * one + 1] = groups[4 * one]
    return (
        random.normal(size=(n, 8)) + random.normal(size=(n, 8))[groups],
        y.tolist(),
        groups.tolist(),
    )
