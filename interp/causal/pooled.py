"""All emotions together: what a family of directions does, as one claim that nothing was picked for.

Each direction is meant to bring its own emotion and no other. The average over emotions says how
often it does, per prompt, with an interval over the prompts' scenarios. Whether it is the *own*
emotion that comes is tested by dealing the emotions to the directions at random ("shuffled
emotion", `interp.chance.assignment_p`): a vector that makes any text joyful brings joy under all
names. With fewer than 4 emotions no such p can be small, and none is given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.chance import assignment_p, least_assignment_p
from interp.stats import Labels, Statistic, jackknife, mean_interval, share_difference

ALL = "all"
P_OF = "emotions dealt to the directions at random"
LEAST_P = 0.05

Arm = tuple[str, float]
"""What was added: control ("" is the direction itself) and scale."""


def success_rows(verdicts: Mapping[Arm, Mapping[str, Sequence[str | None]]], groups: Labels) -> list[dict[str, Any]]:
    """Rows of `success` of each arm, and of `success_above`: how much more often the directions
    reach their emotion than the control named under `target`.

    `verdicts[arm][emotion]` is what the judge said of each prompt's continuation when steered to
    that emotion. `n` counts prompts.
    """
    rows: list[dict[str, Any]] = []
    reached = {arm: _reached(told) for arm, told in verdicts.items()}
    for (control, scale), own in reached.items():
        common = {"emotion": ALL, "control": control, "scale": scale}
        told = verdicts[control, scale]
        tested = {} if control else _tested(_counts(told))
        rows.append({**common, "metric": "success", **jackknife(_mean(own), groups, scale="share")._asdict(), **tested})
        rivals = {} if control else {"unsteered": ("unsteered", 0.0), "random": ("random", scale)}
        for name, arm in rivals.items():
            if arm in reached:
                above = share_difference(_mean(own), _mean(reached[arm]), groups)
                rows.append({**common, "metric": "success_above", "target": name, **above._asdict()})
    return rows


def gain_rows(gains: Mapping[Arm, Float[np.ndarray, "direction prompt emotion"]], groups: Labels) -> list[dict[str, Any]]:
    """Rows of `label_logprob_gain` of each arm (nats): by how much the words of a direction's own
    emotion gain on the unsteered text, and under control `other` those of the other emotions.

    The directions stand in the order of the emotions. `n` counts prompts.
    """
    rows: list[dict[str, Any]] = []
    for (control, scale), found in gains.items():
        n = len(found)
        own = np.einsum("dpd->dp", found)
        kinds = {control: own.mean(axis=0)}
        if not control and n > 1:
            kinds["other"] = (found.sum(axis=2) - own).mean(axis=0) / (n - 1)
        for name, values in kinds.items():
            tested = {} if name else _tested(found.mean(axis=1))
            row = {"emotion": ALL, "metric": "label_logprob_gain", "control": name, "scale": scale}
            rows.append({**row, **mean_interval(values, groups)._asdict(), **tested})
    return rows


def _reached(told: Mapping[str, Sequence[str | None]]) -> Float[np.ndarray, " prompt"]:
    """The share of emotions that each prompt was brought to."""
    return np.mean([[one == emotion for one in mine] for emotion, mine in told.items()], axis=0)


def _counts(told: Mapping[str, Sequence[str | None]]) -> Float[np.ndarray, "direction emotion"]:
    return np.array([[float(list(mine).count(emotion)) for emotion in told] for mine in told.values()])


def _tested(effects: Float[np.ndarray, "direction emotion"]) -> dict[str, Any]:
    if least_assignment_p(len(effects)) > LEAST_P:
        return {}
    return {"p": assignment_p(effects), "p_of": P_OF}


def _mean(values: Float[np.ndarray, " prompt"]) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)
