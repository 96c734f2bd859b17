"""What may be said of patching, contributions and ablation."""

import math

import pandas as pd

from interp.chance import benjamini_hochberg
from interp.reporting.causes import head_name
from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.finding import Compared, Finding, claim, number_of, p_of, told_p
from interp.reporting.rows import (
    POOLED,
    beside,
    best,
    column,
    groups,
    holds,
    layers,
    least,
    measured,
    numbers,
    numeral,
    place,
    pooled,
    select,
    word,
)
from interp.reporting.text import number, p_value, whole

NESTED = "nested_restoration"

_NO_EFFECT = {
    Verdict.NOT_FOUND: "The readout does not tell the twins apart, so there is nothing to restore.",
    Verdict.INVERTED: "The emotional texts make their own words less likely, so there is nothing to restore.",
    Verdict.CANNOT_SAY: "Whether the readout tells the twins apart cannot be said: too few scenarios.",
}
_SHARE = "the readout's difference ({over}; each fold of scenarios chose its site out of {n}, most often {place})"
_OF_A_PATCH = {
    Verdict.FOUND: f"Patching at {{name}} restores this share of {_SHARE}.",
    Verdict.NOT_FOUND: f"Patching at {{name}} is not found to restore {_SHARE}.",
    Verdict.INVERTED: f"Patching at {{name}} moves the wrong way {_SHARE}.",
    Verdict.CANNOT_SAY: f"What patching at {{name}} restores of {_SHARE} has no interval.",
}


def patching(table: pd.DataFrame) -> list[Finding]:
    """One finding for each position and direction of patching; where nothing can be restored, one that says so."""
    if not holds(table, metric="restoration", control=""):
        return [_no_effect(table)]
    told = select(table, metric=NESTED)
    rows, together = pooled(told)
    if not together:  # only some emotions have something to restore: the surest of them
        effects = select(table, metric="total_effect", emotion=list(column(told, "emotion")))
        surest = effects.iloc[[int(numbers(effects, "p_corrected").to_numpy().argmin())]]
        rows = select(told, emotion=word(surest, "emotion"))
    found = []
    for name, row in groups(rows, ["position", "mode"]):
        cells = select(table, metric="restoration", control="", **_same(row, "emotion", "position", "mode"))
        whole_effect = beside(table, row, metric="total_effect", position="", site="", layer="")
        control = beside(table, row, metric="restoration", control="random_source")
        compared = [("random source, same place", measured(control))] if control is not None else []
        compared += [("difference to restore (nats)", measured(whole_effect))] if whole_effect is not None else []
        compared += _reach(cells)
        over = "all emotions" if word(row, "emotion") in POOLED else word(row, "emotion")
        verdict = decide(number_of(row), nothing=0.0)
        what = f"patching at {name} restores the readout's difference"
        told_of = {"name": name, "over": over, "n": len(cells), "place": place(row)}
        found.append(claim("patching", what, verdict, row, _OF_A_PATCH, compared=compared, **told_of))
    return found


def _no_effect(table: pd.DataFrame) -> Finding:
    what = "the readout tells the twins apart"
    if not holds(table, metric="total_effect"):
        return Finding(stage="patching", what=what, verdict=Verdict.NOT_FOUND, sentence=_NO_EFFECT[Verdict.NOT_FOUND])
    rows, _ = pooled(select(table, metric="total_effect"))
    row = rows.iloc[[0]]
    known = {"inverted": Verdict.INVERTED, "too few": Verdict.CANNOT_SAY}
    verdict = known.get(word(row, "effect"), Verdict.NOT_FOUND)
    return Finding(
        stage="patching",
        what=what,
        verdict=verdict,
        sentence=_NO_EFFECT[verdict],
        p=p_of(row, "p_corrected"),
        beside=(("difference (nats)", measured(row)),),
    )


def _same(row: pd.DataFrame, *names: str) -> dict[str, str]:
    return {name: word(row, name) for name in names}


def _reach(cells: pd.DataFrame) -> Compared:
    """The layers at which one patch of the stream restores more than half: where the emotion stands."""
    stream = cells[column(cells, "site") == "resid_post"]
    over = stream[numbers(stream, "value") > 0.5]
    if stream.empty:
        return []
    return [("layers of resid_post that restore more than half", layers(over) if len(over) else "none")]


_HIGHEST = "the highest is {name}, for {emotion} (along the direction, residual units)"
_OF_A_PART = {
    Verdict.FOUND: f"For {{held}} of {{n}} emotions the {{kind}} that writes most does so{{where}}; {_HIGHEST}.",
    Verdict.NOT_FOUND: f"For no emotion the {{kind}} that ranks first is found to write it{{where}}; {_HIGHEST}.",
    Verdict.INVERTED: f"The {{kind}} that ranks first writes against the direction{{where}}; {_HIGHEST}.",
    Verdict.CANNOT_SAY: "Whether the {kind} that ranks first writes the emotion{where} cannot be "
    f"said: no interval; {_HIGHEST}.",
}


def contributions(table: pd.DataFrame) -> list[Finding]:
    """The first of each emotion, as ranked on one half of the pairs, and what it does on the other."""
    found = []
    for kind, rows in groups(select(table, metric="contribution"), ["component"]):
        firsts = rows[numbers(rows, "rank") == 1]
        corrected = _corrected(firsts)
        verdicts = {at: decide(number_of(firsts.loc[[at]]), nothing=0.0, p=corrected.get(at)) for at in firsts.index}
        surely = [at for at, verdict in verdicts.items() if verdict is Verdict.FOUND]
        top = best(firsts.loc[surely] if surely else firsts)
        p = corrected.get(top.index[0])
        name = head_name(top) if kind == "head" else f"{whole(numeral(top, 'index'))} of layer {whole(numeral(top, 'layer'))}"
        where = ", on pairs that did not rank it" if word(top, "half") == "report" else ", on the pairs that ranked it"
        second = rows[(column(rows, "emotion") == word(top, "emotion")) & (numbers(rows, "rank") == 2)]
        compared = [("second for this emotion", measured(second))] if len(second) else []
        compared += [] if p is None else [(f"sign flips, corrected for {len(firsts)} emotions", p_value(p))]
        told = {
            "held": len(surely),
            "n": len(firsts),
            "kind": kind,
            "where": where,
            "name": name,
            "emotion": word(top, "emotion"),
        }
        what = f"the {kind} that ranks first writes the emotion"
        verdict = verdicts[top.index[0]]
        found.append(claim("contributions", what, verdict, top, _OF_A_PART, p=p, compared=compared, **told))
    return found


def _corrected(rows: pd.DataFrame) -> dict[int, float]:
    """The rows' p, corrected for there being several (Benjamini & Hochberg); none where the table has none."""
    if "p" not in rows or numbers(rows, "p").isna().any():
        return {}
    return dict(zip(rows.index, benjamini_hochberg(numbers(rows, "p").to_numpy()).tolist(), strict=True))


_UNITS = "(log-probability, nats; all {n} emotions together)"
_OF_ABLATION = {
    Verdict.FOUND: "Ablating the top {k} {kind}s of each emotion lowers its own words, "
    f"more than random {{kind}}s do {_UNITS}.",
    Verdict.NOT_FOUND: "Ablating the top {k} {kind}s of each emotion is not found to lower its own "
    f"words more than random {{kind}}s do {_UNITS}.",
    Verdict.INVERTED: f"Ablating the top {{k}} {{kind}}s of each emotion raises its own words {_UNITS}.",
    Verdict.CANNOT_SAY: "Whether ablating the top {k} {kind}s of each emotion lowers its own words "
    f"more than random ones cannot be said {_UNITS}.",
}


def ablation(table: pd.DataFrame) -> list[Finding]:
    """What the most components take from their own emotion's words: the most of those numbers that
    random components stand beside, where any has them.

    The projection, on which they were chosen, stands beside.
    """
    own = table[column(table, "emotion") == column(table, "target")]
    n = len(set(column(own, "emotion")) - set(POOLED))
    found = []
    rows = select(own, metric="label_logprob_change", control="", emotion=POOLED)
    for kind, mine in groups(rows, ["component", "mode"]):
        tested = mine[numbers(mine, "p").notna()] if "p" in mine else mine.iloc[:0]
        mine = mine if tested.empty else tested
        row = mine[numbers(mine, "k") == numbers(mine, "k").max()]
        kind = word(row, "component") if kind not in ("head", "neuron") else kind
        random = beside(own, row, control="random")
        compared = [] if random is None else [(f"random {kind}s", drawn(random))]
        p = p_of(row, "p")
        compared += [] if p is None else [(f"against random {kind}s", told_p(row, p))]
        fall = beside(own, row, metric="projection_drop")
        compared += [] if fall is None else [("projection, natural lengths", measured(fall))]
        compared += _largest(own, row)
        verdict = _lowered(row, p)
        told = {"k": whole(numeral(row, "k")), "kind": kind, "n": n}
        what = f"the top {kind}s of each emotion are needed for its own words"
        found.append(claim("ablation", what, verdict, row, _OF_ABLATION, p=p, compared=compared, **told))
    return found


def _lowered(row: pd.DataFrame, p: float | None) -> Verdict:
    """Without random components beside them a fall says nothing of these ones."""
    change = number_of(row)
    least = p_of(row, "least_p")
    verdict = decide(Number(-change.value, -change.high, -change.low), nothing=0.0, p=p, least_p=least)
    return Verdict.CANNOT_SAY if p is None and verdict is Verdict.FOUND else verdict


def _largest(own: pd.DataFrame, row: pd.DataFrame) -> Compared:
    """The emotion whose words fall most."""
    each = own[(numbers(own, "k") == numeral(row, "k")) & ~column(own, "emotion").isin(POOLED)]
    wanted = {"metric": "label_logprob_change", "control": "", **_same(row, "component", "mode")}
    if not holds(each, **wanted):
        return []
    top = least(select(each, **wanted))
    return [(f"largest fall, {word(top, 'emotion')}", measured(top))]


def drawn(row: pd.DataFrame) -> str:
    """The mean of random draws with their range, as text."""
    if "draw_low" not in row or math.isnan(numeral(row, "draw_low")):
        return measured(row)
    low, high = (number(numeral(row, name)) for name in ("draw_low", "draw_high"))
    return f"{number(numeral(row, 'value'))} (draws {low} to {high})"
