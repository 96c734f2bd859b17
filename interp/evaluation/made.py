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


WHEEL = ("joy", "trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
"""Eight emotions round a circle, at 45 degrees."""


def circumplex(
    seed: int, *, n: int = 12, radius: float = 1.0, d: int = 40
) -> tuple[Float[np.ndarray, "item d"], list[str], list[str]]:
    """Paired differences of `n` scenarios of each emotion of `WHEEL`, labels and scenarios.

    The emotions' means lie round a circle of this radius in a random plane, all moved by the same
    vector; a scenario strays from its mean by noise of unit variance, in which axes differ.
    """
    random = np.random.default_rng(seed)
    plane = np.linalg.qr(random.normal(size=(d, 2)))[0]
    angle = np.repeat(np.arange(8) * np.pi / 4, n)
    centre = radius * np.column_stack([np.cos(angle), np.sin(angle)]) @ plane.T
    noise = random.normal(size=(8 * n, d)) * np.linspace(0.5, 1.5, d)
    labels = np.repeat(WHEEL, n).tolist()
    return centre + noise + random.normal(size=d), labels, [f"s{row}" for row in range(8 * n)]
