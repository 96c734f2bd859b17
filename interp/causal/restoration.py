"""What patching restored, as numbers with intervals: pure functions of what was read out of the
patched runs.

There is something to restore only where the twins differ in the readout, and as they should: the
emotional text makes its own emotion's words likelier.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.chance import LEAST_P, benjamini_hochberg, flips, permutation_p, sign_flip
from interp.choices import choice_inflation, choose_by_folds
from interp.sites import Site, site_columns
from interp.stats import Estimate, group_sums, mean_interval, numbered, ratio_interval

CONTROL, OTHER_EMOTION, SAME_NORM = "random_source", "other_emotion", "random_of_same_norm"
"""The controls: another scenario's source of the same emotion, a source of another emotion, and
random vectors, each as long as what it stands for.
"""

COPY, KL_TARGET, SUCCESS = "copy", "kl_target", "success"
"""What may be told of patches besides: everything at the position exchanged, the KL to the target,
and how often the answer becomes the source's.
"""

PLACE_FOLDS = 5
"""Folds of scenarios, each of which is told of where the others restore most."""

P_OF_NESTED_RESTORATION = "sign flips of scenarios, each fold choosing its site anew"
"""What the p on the row of the nested restoration tests."""

Key = tuple[Site | None, str, str]
"""Site, position and control of a cell; without a site the unpatched runs, "source" and "target",
and with the control `COPY` everything at the position.
"""


def effect_rows(
    cells: Mapping[Key, Mapping[str, Float[np.ndarray, " case"]]],
    labels: Sequence[str],
    groups: Shaped[np.ndarray, " case"],
    *,
    met: Mapping[str, Bool[np.ndarray, " case"]],
    sign: int,
) -> list[dict[str, Any]]:
    """Rows of `total_effect`, and of each cell's metrics and `restoration`, by emotion and for all
    together.

    A cell holds `logit_diff`, and what else was measured, for every case, with emotion `labels` and
    scenario `groups`. `met` says which cases have the source of each control; `sign` is that of the
    effect which an emotion's own words should have. Restorations stand only where the gate of
    `gates` is "expected". Of the cells of `COPY` the metrics are called `copy_...`.
    """
    target = cells[None, "target", ""]["logit_diff"]
    effects = cells[None, "source", ""]["logit_diff"] - target
    members = {
        emotion: np.array([emotion in (one, "all") for one in labels])
        for emotion in [*dict.fromkeys(labels), "all"]
    }
    passed = gates(sign * effects, groups, members)
    rows: list[dict[str, Any]] = []
    for emotion, mine in members.items():
        for control in ("", *met):
            used = mine & met[control] if control else mine
            if not used.any():
                continue
            common = {"emotion": emotion, "control": control}
            if not control:
                total = {
                    "position": "",
                    "metric": "total_effect",
                    **mean_interval(effects[used], groups[used])._asdict(),
                }
                rows.append({**site_columns(None), **common, **total, **passed[emotion]})
            restored = passed[emotion]["effect"] == "expected" and effects[used].sum() != 0
            whole = effects if restored else None
            for key in _shown(cells, control):
                found = _estimates(cells[key], target, whole, groups, used)
                here = {**site_columns(key[0]), **common, "position": key[1]}
                copied = f"{COPY}_" if key[2] == COPY else ""
                rows += [
                    {**here, "metric": f"{copied}{metric}", **one._asdict()}
                    for metric, one in found.items()
                ]
            if not control and restored:
                moved = {
                    key: cell["logit_diff"][used] - target[used]
                    for key, cell in cells.items()
                    if _open(key)
                }
                rows += [
                    {**common, **row}
                    for row in nested_restoration(moved, effects[used], groups[used])
                ]
    return rows


def _shown(cells: Iterable[Key], control: str) -> list[Key]:
    """The cells of a control; those of everything at a position stand with the source's own."""
    own = [key for key in cells if key[0] is not None and key[2] == control]
    return own if control else [*own, *(key for key in cells if key[2] == COPY)]


def _estimates(
    cell: Mapping[str, Float[np.ndarray, " case"]],
    target: Float[np.ndarray, " case"],
    effects: Float[np.ndarray, " case"] | None,
    groups: Shaped[np.ndarray, " case"],
    used: Bool[np.ndarray, " case"],
) -> dict[str, Estimate]:
    """Each metric of a cell over the cases `used`, and what is restored of the effects, where there
    are any. Success is told of the cases in which there can be one.
    """
    found = {}
    for metric, values in cell.items():
        told = used & ~np.isnan(values) if metric == SUCCESS else used
        if told.any():
            found[metric] = mean_interval(values[told], groups[told])
    if effects is not None:
        moved = cell["logit_diff"] - target
        found["restoration"] = ratio_interval(moved[used], effects[used], groups[used])
    return found


def moved_answers(
    scores: Float[np.ndarray, "case emotion"],
    before: Float[np.ndarray, "case emotion"],
    columns: Int[np.ndarray, " case"],
) -> Float[np.ndarray, " case"]:
    """1 where the likeliest emotion is that of the case's column, 0 where it is another; NaN where
    it was that one `before`, and where there are no scores. An answer drawn at random would give 1
    in as many as there are emotions.
    """
    open_ = (before.argmax(axis=1) != columns) & ~np.isnan(scores).any(axis=1)
    return np.where(open_, scores.argmax(axis=1) == columns, np.nan)


def nested_restoration(
    moved: Mapping[Key, Float[np.ndarray, " case"]],
    effects: Float[np.ndarray, " case"],
    groups: Shaped[np.ndarray, " case"],
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The row of `nested_restoration` for each position: the share restored where it was chosen to
    be patched.

    Scenarios are dealt into folds. Each fold is told of at the site where the others restore most,
    so that no site was chosen by what it is told of; the row's place is the one that most folds
    chose (`chosen_by`). The interval is Fieller's over scenarios, wider by what the choice costs
    (`interp.choices`). `p` is one-sided, that no site restores anything: scenarios' signs are
    flipped, the same at all sites, and every fold chooses anew. No row below 5 scenarios.
    """
    rows = []
    scenario = numbered(groups)
    n = int(scenario.max()) + 1
    if n < PLACE_FOLDS:
        return []
    side = float(np.sign(effects.sum()))
    fold = np.random.default_rng(seed).permutation(n) % PLACE_FOLDS
    signs = flips(n, seed=seed)
    for position in dict.fromkeys(key[1] for key in moved):
        mine = {key: values for key, values in moved.items() if key[1] == position}
        sums = side * np.stack([group_sums(values, groups) for values in mine.values()])
        under = choose_by_folds(sums, fold, signs)
        chosen, totals = under.place[0], under.told.sum(axis=1)
        told = np.stack(list(mine.values()))[chosen[fold[scenario]], np.arange(len(effects))]
        most, times = Counter(chosen.tolist()).most_common(1)[0]
        row = {
            **site_columns(list(mine)[most][0]),
            "position": position,
            "metric": "nested_restoration",
        }
        tested = {"p": permutation_p(float(totals[0]), totals[1:]), "p_of": P_OF_NESTED_RESTORATION}
        wider = choice_inflation(sums, fold, signs[1:])
        found = ratio_interval(told, effects, groups).widened(wider)._asdict()
        rows.append({**row, **found, **tested, "chosen_by": f"{times} of {PLACE_FOLDS} folds"})
    return rows


def _open(key: Key) -> bool:
    """Whether a cell can be chosen: a patch from the twin, and not the exchange of all embeddings
    of the edit, which makes the other text and so restores all of it by construction.
    """
    return key[0] is not None and key[2] == "" and key[0] != Site("resid_pre", 0)


def gates(
    effects: Float[np.ndarray, " case"],
    groups: Shaped[np.ndarray, " case"],
    members: Mapping[str, Bool[np.ndarray, " case"]],
) -> dict[str, dict[str, Any]]:
    """For each emotion whether there is an effect to restore: columns `p`, `p_corrected` and
    `effect`.

    `effects` are positive where the emotional text makes its own words likelier. p is one-sided, by
    flipping the signs of scenarios, and corrected over the emotions (Benjamini & Hochberg 1995).
    `effect` is "expected", "none", "inverted" (the same test the other way round), or "too few":
    with fewer than 5 scenarios no pattern of signs is rarer than 1 in 16.
    """
    sums = [group_sums(effects[mine], groups[mine]) for mine in members.values()]
    p = {side: np.array([sign_flip(side * one, side="above") for one in sums]) for side in (1, -1)}
    corrected = {side: benjamini_hochberg(found) for side, found in p.items()}
    found = {}
    for at, emotion in enumerate(members):
        effect = "none" if 0.5 ** len(sums[at]) <= LEAST_P else "too few"
        for side, name in ((1, "expected"), (-1, "inverted")):
            effect = name if corrected[side][at] <= LEAST_P else effect
        found[emotion] = {
            "p": float(p[1][at]),
            "p_corrected": float(corrected[1][at]),
            "effect": effect,
        }
    return found


def warn_of_inverted(
    rows: Sequence[Mapping[str, Any]], *, than: str = "their neutral twins do"
) -> None:
    """Warn of the emotions whose texts make their own words less likely `than` others do."""
    inverted = dict.fromkeys(row["emotion"] for row in rows if row.get("effect") == "inverted")
    if inverted:
        warnings.warn(
            f"the emotional texts of {', '.join(inverted)} make their own words less likely than "
            f"{than}: the readout measures something else there, and nothing is restored.",
            stacklevel=3,
        )
