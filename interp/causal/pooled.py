"""All emotions together: what a family of directions does, as one claim that nothing was picked
for.

Each direction is meant to bring its own emotion and no other. The average over emotions says how
often it does, per prompt, with an interval over the prompts' scenarios.

That interval knows of other prompts, not of other directions: a random vector, too, does the same
to every prompt. So a p stands beside it (`p_of`). From 4 emotions on, the emotions are dealt to the
directions at random ("shuffled emotion", `interp.chance.assignment_p`): a vector that makes any
text joyful brings joy under all names. With fewer, each direction is held against random ones of
its length, a new one for every prompt (`interp.chance.strata_p`); these differ by prompt as well,
so that the p is on the large side. `least_p` is the smallest that so few emotions and prompts
allow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.chance import (
    FEWEST_DEALT,
    assignment_p,
    least_assignment_p,
    least_strata_p,
    strata_p,
)
from interp.shares import Share, share_difference
from interp.stats import Labels, mean_interval, mean_of

ALL = "all"
Arm = tuple[str, float]
"""What was added: control ("" is the direction itself) and scale."""


def success_rows(
    verdicts: Mapping[Arm, Mapping[str, Sequence[str | None]]], groups: Labels
) -> list[dict[str, Any]]:
    """Rows of `success` of each arm, and of `success_above`: how much more often the directions
    reach their emotion than the control named under `target`.

    `verdicts[arm][emotion]` is what the judge said of each prompt's continuation when steered to
    that emotion. `n` counts prompts.
    """
    rows: list[dict[str, Any]] = []
    hits = {arm: _hits(told) for arm, told in verdicts.items()}
    reached = {arm: one.mean(axis=0) for arm, one in hits.items()}
    for (control, scale), own in reached.items():
        common = {"emotion": ALL, "control": control, "scale": scale}
        here = control, scale
        tested = (
            {}
            if control
            else _tested(_counts(verdicts[here]), hits[here], hits.get(("random", scale)))
        )
        rows.append(
            {
                **common,
                "metric": "success",
                **Share(mean_of(own)).estimate(groups)._asdict(),
                **tested,
            }
        )
        rivals = {} if control else {"unsteered": ("unsteered", 0.0), "random": ("random", scale)}
        for name, arm in rivals.items():
            if arm in reached:
                above = share_difference(Share(mean_of(own)), Share(mean_of(reached[arm])), groups)
                rows.append(
                    {**common, "metric": "success_above", "target": name, **above._asdict()}
                )
    return rows


def gain_rows(
    gains: Mapping[Arm, Float[np.ndarray, "direction prompt emotion"]], groups: Labels
) -> list[dict[str, Any]]:
    """Rows of `label_logprob_gain` of each arm (nats): by how much the words of a direction's own
    emotion gain on the unsteered text, and under control `other` those of the other emotions; and
    of `gain_above`: how much more they gain than under random directions.

    The directions stand in the order of the emotions. `n` counts prompts.
    """
    rows: list[dict[str, Any]] = []
    for (control, scale), found in gains.items():
        n = len(found)
        own = np.einsum("dpd->dp", found)
        random = None if control else gains.get(("random", scale))
        drawn = None if random is None else np.einsum("dpd->dp", random)
        kinds = {control: own.mean(axis=0)}
        if not control and n > 1:
            kinds["other"] = (found.sum(axis=2) - own).mean(axis=0) / (n - 1)
        for name, values in kinds.items():
            tested = {} if name else _tested(found.mean(axis=1), own, drawn)
            row = {"emotion": ALL, "metric": "label_logprob_gain", "control": name, "scale": scale}
            rows.append({**row, **mean_interval(values, groups)._asdict(), **tested})
        if drawn is not None:
            above = mean_interval((own - drawn).mean(axis=0), groups)
            row = {
                "emotion": ALL,
                "metric": "gain_above",
                "control": "",
                "target": "random",
                "scale": scale,
            }
            rows.append({**row, **above._asdict()})
    return rows


def _hits(told: Mapping[str, Sequence[str | None]]) -> Float[np.ndarray, "direction prompt"]:
    return np.array([[float(one == emotion) for one in mine] for emotion, mine in told.items()])


def _counts(told: Mapping[str, Sequence[str | None]]) -> Float[np.ndarray, "direction emotion"]:
    return np.array(
        [[float(list(mine).count(emotion)) for emotion in told] for mine in told.values()]
    )


def _tested(
    effects: Float[np.ndarray, "direction emotion"],
    own: Float[np.ndarray, "direction prompt"],
    drawn: Float[np.ndarray, "direction prompt"] | None,
) -> dict[str, Any]:
    if len(effects) >= FEWEST_DEALT:
        least = least_assignment_p(len(effects))
        return {
            "p": assignment_p(effects),
            "p_of": "emotions dealt to the directions at random",
            "least_p": least,
        }
    if drawn is None:
        return {}
    least = least_strata_p([drawn.shape[1]] * len(drawn))
    p = strata_p(own.mean(axis=1), list(drawn))
    return {"p": p, "p_of": "random directions of the same length", "least_p": least}
