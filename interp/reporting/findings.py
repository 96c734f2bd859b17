"""What a run found, in plain words: headline numbers beside their baselines and controls.

A number stands here only with its interval (or the statement that it has none), its n and its comparison. Where a
condition is invalid (nothing measured, continuations that nobody can read) no number is given, and the reason is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from interp.errors import DataError
from interp.reporting.causes import head_name, patching_scores
from interp.reporting.decisions import LEVEL, Number, Verdict, decide
from interp.reporting.representation import text_baselines_of
from interp.reporting.rows import (
    MEMORISED,
    beside,
    best,
    column,
    groups,
    holds,
    least,
    mean,
    measured,
    nuisances_of,
    numbers,
    numeral,
    place,
    pooled,
    select,
    word,
)
from interp.reporting.text import number, p_value, whole

VALID_NEEDED = 0.5
"""Below this share of readable continuations no success is reported."""

_TASKS = {
    "reception": "tells emotional texts from their neutral twins",
    "categorisation": "tells which emotion a text is about",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One headline: the stage, a sentence, its number (empty where none may be given), n, and what to hold it against."""

    stage: str
    sentence: str
    value: str
    n: int
    beside: tuple[tuple[str, str], ...] = ()


def findings(tables: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """The headlines of all stages in `tables`; a stage whose table holds nothing measured says so instead of a number."""
    found: list[Finding] = []
    for stage, tell in _TELL.items():
        if stage not in tables:
            continue
        try:
            found += tell(tables[stage])
        except DataError as error:
            found.append(Finding(stage, f"No number can be given: {error}", "", 0))
    return found


def _row(stage: str, sentence: str, row: pd.DataFrame, *compared: tuple[str, str]) -> Finding:
    return Finding(stage, sentence, measured(row), int(numeral(row, "n")), compared)


_OF_A_PROBE = {
    Verdict.FOUND: "A linear probe at {place} {what}, beyond the words (AUROC; the best of {n} places).",
    Verdict.NOT_TOLD_APART: (
        "A linear probe at {place} {what}, not told apart from the words alone (AUROC; the best of {n} places)."
    ),
    Verdict.NOT_FOUND: "No place was found where a linear probe {what}; the highest of {n} is {place} (AUROC).",
    Verdict.INVERTED: "The probe at {place}, the best of {n}, ranks the wrong way round where it {what} (AUROC).",
    Verdict.CANNOT_SAY: "Whether a linear probe {what} cannot be said: no interval; the highest of {n} is {place} (AUROC).",
}


def _probes(table: pd.DataFrame) -> list[Finding]:
    found = []
    for task, rows in groups(select(table, metric="auroc", control=""), ["task"]):
        top = best(rows)
        texts = text_baselines_of(select(table, metric="auroc", task=word(top, "task")))
        words = best(texts) if len(texts) else None
        compared = [("chance", "0.5")]
        if words is not None:
            compared.append((f"best text baseline, {word(words, 'control')}", measured(words)))
        compared += [*_rivals(table, top), *_significance(top, len(rows))]
        verdict = decide(_number(top), nothing=0.5, p=_corrected(top), words=None if words is None else _number(words))
        sentence = _OF_A_PROBE[verdict].format(place=place(top), what=_TASKS.get(task, f"answers {task}"), n=len(rows))
        found.append(_row("probes", sentence, top, *compared))
    return found


def _number(row: pd.DataFrame) -> Number:
    return Number(numeral(row, "value"), numeral(row, "ci_low"), numeral(row, "ci_high"))


def _rivals(table: pd.DataFrame, top: pd.DataFrame) -> list[tuple[str, str]]:
    """What the same activations tell besides: labels that can only be learned by heart, and nuisances."""
    known = beside(table, top, control=MEMORISED)
    found = [("labels learned by heart, same place", measured(known))] if known is not None else []
    for name, row in nuisances_of(table, top, metric="selectivity").items():
        found.append((f"more than {name} is told, same place", measured(row)))
    return found


def _corrected(top: pd.DataFrame) -> float | None:
    """The p-value that allows for having picked the best place; max-T before Benjamini-Hochberg; None where there is none."""
    for name in ("p_max_t", "p_corrected"):
        if name in top and not numbers(top, name).isna().all():
            return numeral(top, name)
    return None


def _significance(top: pd.DataFrame, n_places: int) -> list[tuple[str, str]]:
    p = _corrected(top)
    if p is None:
        return []
    by_max_t = "p_max_t" in top and not numbers(top, "p_max_t").isna().all()
    told = f"largest of {n_places} places (max-T)" if by_max_t else f"corrected for {n_places} places"
    return [(told, p_value(p))]


def _directions(table: pd.DataFrame) -> list[Finding]:
    tops = [best(rows) for _, rows in groups(select(table, metric="separation_auroc"), ["emotion"])]
    tops.sort(key=lambda top: numeral(top, "value"))
    found = []
    for name, top in {"weakest": tops[0], "strongest": tops[-1]}.items():
        stable = beside(table, top, metric="split_half_cosine")
        compared = [("chance", "0.5")] + ([("cosine between halves", measured(stable))] if stable is not None else [])
        held = decide(_number(top), nothing=0.5) is Verdict.FOUND
        does = "separates" if held else "is not found to separate"
        sentence = (
            f"The {name} of {len(tops)} directions, {word(top, 'emotion')}, {does} held-out texts at {place(top)} "
            "(AUROC; each at its best layer)."
        )
        found.append(_row("directions", sentence, top, *compared))
    return found


def _patching(table: pd.DataFrame) -> list[Finding]:
    if not holds(table, metric="restoration", control=""):
        effect = []
        if holds(table, metric="total_effect"):
            rows, _ = pooled(select(table, metric="total_effect"))
            effect = [("difference (nats)", measured(rows))]
        told = "The readout does not tell the twins apart, so there is nothing to restore."
        return [Finding("patching", told, "", 0, tuple(effect))]
    rows, _ = pooled(select(patching_scores(table)[0], control=""))
    # Exchanging all embeddings of the edit makes the other text: that cell is 1 by construction.
    rows = rows[~((column(rows, "site") == "resid_pre") & (numbers(rows, "layer") == 0))]
    found = []
    for name, own in groups(rows, ["position", "mode"]):
        top = best(own)
        control = beside(table, top, control="random_source")
        whole_effect = beside(table, top, metric="total_effect", position="", site="", layer="")
        compared = [("random source, same place", measured(control))] if control is not None else []
        compared += [("difference to restore (nats)", measured(whole_effect))] if whole_effect is not None else []
        over = "all emotions" if word(top, "emotion") in ("", "all") else word(top, "emotion")
        verdict = decide(_number(top), nothing=0.0)
        sentence = _OF_A_PATCH[verdict].format(place=place(top), name=name, over=over, n=len(own))
        found.append(_row("patching", sentence, top, *compared))
    return found


_SHARE = "the readout's difference ({over}; the best of {n})"
_OF_A_PATCH = {
    Verdict.FOUND: f"Patching {{place}} at {{name}} restores this share of {_SHARE}.",
    Verdict.NOT_FOUND: f"No place was found at {{name}} where patching restores {_SHARE}; the highest is {{place}}.",
    Verdict.INVERTED: f"Patching {{place}} at {{name}} moves the wrong way {_SHARE}.",
    Verdict.CANNOT_SAY: f"What patching at {{name}} restores of {_SHARE} has no interval; the highest is {{place}}.",
}


def _contributions(table: pd.DataFrame) -> list[Finding]:
    """The first of each emotion, as ranked on one half of the pairs, and what it does on the other."""
    found = []
    for kind, rows in groups(select(table, metric="contribution"), ["component"]):
        firsts = rows[numbers(rows, "rank") == 1]
        top = best(firsts)
        held = [row for _, row in groups(firsts, ["emotion"]) if decide(_number(row), nothing=0.0) is Verdict.FOUND]
        name = head_name(top) if kind == "head" else f"{whole(numeral(top, 'index'))} of layer {whole(numeral(top, 'layer'))}"
        where = ", on pairs that did not rank it" if word(top, "half") == "report" else ", on the pairs that ranked it"
        sentence = (
            f"For {len(held)} of {len(firsts)} emotions the {kind} that writes most does so{where}; the strongest is "
            f"{name}, for {word(top, 'emotion')} (along the direction, residual units)."
        )
        second = rows[(column(rows, "emotion") == word(top, "emotion")) & (numbers(rows, "rank") == 2)]
        compared = [("second for this emotion", measured(second))] if len(second) else []
        found.append(_row("contributions", sentence, top, *compared))
    return found


def _ablation(table: pd.DataFrame) -> list[Finding]:
    """The emotion whose own words fall most; the projection, on which components were chosen, stands beside."""
    own = table[column(table, "emotion") == column(table, "target")]
    found = []
    for kind, rows in groups(select(own, metric="label_logprob_change", control=""), ["component", "mode"]):
        most = rows[numbers(rows, "k") == numbers(rows, "k").max()]
        top = least(most)
        random = beside(own, top, control="random")
        compared = [] if random is None else [(f"random {kind}s, {word(top, 'emotion')}", measured(random))]
        p = min(1.0, numeral(top, "p") * len(most)) if "p" in top and not numbers(top, "p").isna().all() else None
        compared += [] if p is None else [(f"against random {kind}s, corrected for {len(most)} emotions", p_value(p))]
        fall = beside(own, top, metric="projection_drop")
        compared += [] if fall is None else [("projection, natural lengths", measured(fall))]
        change = _number(top)
        # With few random choices no p can be small: then the interval alone decides, beside them.
        least_p = len(most) / (1 + (numeral(random, "n") if random is not None else 0))
        fallen = Number(-change.value, -change.high, -change.low)
        verdict = decide(fallen, nothing=0.0, p=p if least_p <= LEVEL else None)
        does = (
            "lowers the words of"
            if verdict is Verdict.FOUND
            else "is not found to lower any emotion's words; lowest are those of"
        )
        sentence = (
            f"Ablating the top {whole(numeral(top, 'k'))} {kind}s {does} {word(top, 'emotion')} "
            f"(log-probability, nats; the largest fall of {len(most)})."
        )
        found.append(_row("ablation", sentence, top, *compared))
    return found


def _steering(table: pd.DataFrame) -> list[Finding]:
    found = []
    if holds(table, metric="success", control=""):
        found += [_success(rows) for _, rows in groups(select(table, metric=("success", "valid")), ["judge"])]
    if holds(table, metric="label_logprob", control=""):
        found.append(_dose(select(table, metric="label_logprob")))
    if not found:
        raise DataError("the table holds neither success nor label_logprob.")
    return found


def _success(rows: pd.DataFrame) -> Finding:
    half = "report" if holds(rows, half="report", metric="success", control="") else word(rows, "half")
    told = select(rows, half=half)
    at = numeral(best(select(told, metric="success", control="")), "scale")
    told = told[numbers(told, "scale").isin((0, at))]
    steered = select(told[numbers(told, "scale") == at], metric="success", control="")
    valid = mean(told[numbers(told, "scale") == at], metric="valid", control="")
    arms = [(name, mean(told, metric="success", control=name)) for name in ("unsteered", "random")]
    compared = [(name, number(value)) for name, value in arms if value is not None]
    compared += [] if valid is None else [("valid share", number(valid))]
    what = f"Steering at strength {whole(at)}, judged by {word(steered, 'judge')}"
    if valid is not None and valid < VALID_NEEDED:
        return Finding(
            "steering", f"{what}: too few continuations can be read, so no success is reported.", "", 0, tuple(compared[-1:])
        )
    low, high = least(steered), best(steered)
    compared += [(f"{name}, {word(row, 'emotion')}", measured(row)) for name, row in (("weakest", low), ("strongest", high))]
    n = int(steered["n"].sum())
    over = f"{len(steered)} emotions" + (", on prompts that did not choose the strength" if half == "report" else "")
    sentence = f"{what}, reaches the target emotion in this share of continuations (mean over {over})."
    return Finding("steering", sentence, f"{number(float(steered['value'].mean()))} (a mean)", n, tuple(compared))


def _dose(rows: pd.DataFrame) -> Finding:
    steered = select(rows, control="")
    at = min(numbers(steered, "scale"), key=lambda scale: abs(scale - 1))
    there = steered[numbers(steered, "scale") == at]
    plain = select(rows, control="unsteered") if holds(rows, control="unsteered") else rows.iloc[:0]
    before = dict(zip(column(plain, "emotion"), plain["value"], strict=True))
    gains = numbers(there, "value") - column(there, "emotion").map(before).fillna(0.0).astype(float)
    top = there.loc[[gains.idxmax()]]
    arms = {
        name: select(rows, emotion=word(top, "emotion"), control=name)
        for name in ("unsteered", "random")
        if holds(rows, control=name)
    }
    compared = [(name, measured(arm[numbers(arm, "scale").isin((0, at))])) for name, arm in arms.items()]
    sentence = f"At strength {whole(at)} the words of {word(top, 'emotion')} gain most; they reach this log-probability (nats)."
    return _row("steering", sentence, top, *compared)


_TELL: dict[str, Callable[[pd.DataFrame], list[Finding]]] = {
    "probes": _probes,
    "directions": _directions,
    "patching": _patching,
    "contributions": _contributions,
    "ablation": _ablation,
    "steering": _steering,
}
