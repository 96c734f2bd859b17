"""Steering: its figures, what may be said of it, and what to doubt."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from interp.errors import DataError
from interp.reporting.decisions import Verdict, decide
from interp.reporting.dose_curves import steering_dose, steering_success, template_collapse
from interp.reporting.finding import (
    JUDGED,
    OWN_WORDS,
    Caution,
    Compared,
    Finding,
    Question,
    Rival,
    claim,
    number_of,
    p_of,
    rivals_of,
    told_p,
)
from interp.reporting.formatting import number, whole
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    POOLED,
    beside,
    best,
    column,
    groups,
    holds,
    least,
    mean,
    measured,
    numbers,
    numeral,
    select,
    word,
)
from interp.reporting.steerability import cautions_of_slopes, steering_slopes, turned_share

VALID_NEEDED = 0.5
"""Below this share of readable continuations no success is reported."""
_REACHED = "steering reaches the target emotion more than random directions do"
_RAISED = "the emotions' directions raise their own words"
_REACHES = "reaches the target emotion"
_OF_SUCCESS = {
    Verdict.FOUND: f"{{doing}}, {_REACHES} in this share of continuations, more than random "
    "directions ({over}).",
    Verdict.NOT_FOUND: "{doing}, is not found to reach the target emotion more than random "
    "directions or other targets do; this share does ({over}).",
    Verdict.INVERTED: f"{{doing}}, {_REACHES} in this share of continuations, less than random "
    "directions ({over}).",
    Verdict.CANNOT_SAY: f"Whether {{doing}}, {_REACHES} more than random ones cannot be said; "
    "this share does ({over}).",
}
_GAIN = "(gain in log-probability, nats; all {n} emotions together)"
_OF_DOSE = {
    Verdict.FOUND: "At strength {at} the emotions' directions raise their own words on average, "
    f"more than {{rival}} {_GAIN}.",
    Verdict.NOT_FOUND: "At strength {at} the emotions' directions are not found to raise their own "
    f"words more than {{rival}} {_GAIN}.",
    Verdict.INVERTED: f"At strength {{at}} the emotions' directions lower their own words {_GAIN}.",
    Verdict.CANNOT_SAY: "Whether the emotions' directions raise their own words at strength {at} "
    f"cannot be said {_GAIN}.",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """What each judge says of the continuations, and what the readout says of the words."""
    found = []
    if holds(table, metric="success", control=""):
        judged = select(table, metric=("success", "success_above", "valid"))
        found += [
            _success(rows, _agreed(table, word(rows, "judge")))
            for _, rows in groups(judged, ["judge"])
        ]
    if holds(table, metric="label_logprob", control=""):
        found.append(_dose(table))
    if not found:
        raise DataError("the table holds neither success nor label_logprob.")
    return found


def _agreed(table: pd.DataFrame, judge: str) -> Compared:
    """How far this judge agrees with each other one (Cohen's kappa)."""
    found: Compared = []
    for own, other in (("judge", "target"), ("target", "judge")):
        if holds(table, **{"metric": "kappa", own: judge}):
            rows = select(table, **{"metric": "kappa", own: judge})
            rows = rows[rows["value"].notna()]
            found += [
                (f"agreement with {word(row, other)} (kappa)", measured(row))
                for _, row in groups(rows, [other])
            ]
    return found


def _success(rows: pd.DataFrame, agreed: Compared) -> Finding:
    half = (
        "report" if holds(rows, half="report", metric="success", control="") else word(rows, "half")
    )
    told = select(rows, half=half)
    each = told[~column(told, "emotion").isin(POOLED)]
    at = numeral(best(select(told, metric="success", control="", emotion=POOLED)), "scale")
    told, each = (part[numbers(part, "scale").isin((0, at))] for part in (told, each))
    row = select(told[numbers(told, "scale") == at], metric="success", control="", emotion=POOLED)
    steered = select(each[numbers(each, "scale") == at], metric="success", control="")
    valid = mean(each[numbers(each, "scale") == at], metric="valid", control="")
    what = f"steering at strength {whole(at)}, judged by {word(row, 'judge')}"
    shared: Compared = [] if valid is None else [("valid share", number(valid))]
    if valid is not None and valid < VALID_NEEDED:
        sentence = (
            f"{what[0].upper()}{what[1:]}: too few continuations can be read, so no "
            "success is reported."
        )
        return Finding(
            stage="steering",
            what=_REACHED,
            verdict=Verdict.CANNOT_SAY,
            sentence=sentence,
            beside=tuple(shared),
            answers=Question.STEERABLE,
            about=JUDGED,
        )
    arms = [(name, mean(each, metric="success", control=name)) for name in ("unsteered", "random")]
    compared: Compared = [(name, number(value)) for name, value in arms if value is not None]
    above, p = _above(told, at, "success_above"), p_of(row, "p")
    verdict = Verdict.CANNOT_SAY
    if above is not None:
        verdict = decide(number_of(above), nothing=0.0, p=p, least_p=p_of(row, "least_p"))
    compared += [] if above is None else [("above random, paired by prompt", measured(above))]
    compared += [] if p is None else [(word(row, "p_of"), told_p(row, p))]
    compared += shared
    ends = (("weakest", least(steered)), ("strongest", best(steered)))
    compared += [(f"{name}, {word(one, 'emotion')}", measured(one)) for name, one in ends]
    compared += agreed
    over = f"mean over {len(steered)} emotions, interval over prompts"
    over += ", on prompts that did not choose the strength" if half == "report" else ""
    what = what if verdict is Verdict.CANNOT_SAY else f"{what[0].upper()}{what[1:]}"
    random = dict(arms)["random"]
    filled: dict[str, Any] = {
        "doing": what,
        "over": over,
        "at": whole(at),
        "compared": compared,
        "answers": Question.STEERABLE,
        "about": JUDGED,
        "rivals": [] if random is None else [Rival("random", "random directions", random)],
    }
    return claim("steering", _REACHED, verdict, row, _OF_SUCCESS, p=p, **filled)


def _above(rows: pd.DataFrame, at: float, metric: str) -> pd.DataFrame | None:
    """All emotions' distance to random directions at a strength; None where there were none."""
    here = rows[numbers(rows, "scale") == at]
    wanted = {"metric": metric, "target": "random", "emotion": POOLED}
    return select(here, **wanted) if holds(here, **wanted) else None


def _told_strength(steered: pd.DataFrame) -> float:
    """The strength that is told of: the one nearest to the natural length."""
    return min(numbers(steered, "scale"), key=lambda scale: abs(scale - 1))


def _dose(table: pd.DataFrame) -> Finding:
    rows = select(table, metric="label_logprob_gain")
    together = select(rows, emotion=POOLED)
    steered = select(together, control="")
    at = _told_strength(steered)
    row = steered[numbers(steered, "scale") == at]
    each = rows[~column(rows, "emotion").isin(POOLED) & (numbers(rows, "scale") == at)]
    own = select(each, control="")
    there = together[numbers(together, "scale") == at]
    names = {"random": "random directions", "other": "other emotions' words"}
    compared = [
        (told, measured(select(there, control=name)))
        for name, told in names.items()
        if holds(there, control=name)
    ]
    above, p = _above(table, at, "gain_above"), p_of(row, "p")
    compared += [] if above is None else [("above random, paired by prompt", measured(above))]
    compared += [] if p is None else [(word(row, "p_of"), told_p(row, p))]
    for name, one in (("smallest", least(own)), ("largest", best(own))):
        compared.append((f"{name} gain, {word(one, 'emotion')}", measured(one)))
    if (turned := turned_share(table)) is not None:
        compared.append(("texts that more steering moves the other way", measured(turned)))
    verdict = decide(number_of(row), nothing=0.0, p=p, least_p=p_of(row, "least_p"))
    surely = above is not None and decide(number_of(above), nothing=0.0) is Verdict.FOUND
    if verdict is Verdict.FOUND and not surely:
        verdict = Verdict.CANNOT_SAY if above is None else Verdict.NOT_FOUND
    rival = (
        "other emotions' do"
        if len(own) > 1 and "dealt" in word(row, "p_of")
        else "random directions do"
    )
    rivals = [
        (name, told, select(there, control=name) if holds(there, control=name) else None)
        for name, told in names.items()
    ]
    told = {"at": whole(at), "n": len(own), "rival": rival, "compared": compared}
    told |= {"answers": Question.STEERABLE, "about": OWN_WORDS, "rivals": rivals_of(*rivals)}
    return claim("steering", _RAISED, verdict, row, _OF_DOSE, p=p, **told)


VALID_WANTED = 0.9
"""The share of continuations that should still be readable."""


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Continuations that nobody can read, random directions that do as well, emotions whose own
    words do not rise, and texts in which they fall.
    """
    if holds(table, metric="success", control=""):
        yield from _of_judged(table)
    if holds(table, metric="label_logprob_gain", control=""):
        yield from _of_own_words(select(table, metric="label_logprob_gain", control=""))
    yield from cautions_of_slopes(table)


def _of_own_words(steered: pd.DataFrame) -> Iterator[Caution]:
    at = _told_strength(steered)
    each = steered[numbers(steered, "scale") == at]
    each = each[~column(each, "emotion").isin(POOLED)]
    flat = each[~(numbers(each, "ci_low") > 0)]
    if len(flat):
        names = ", ".join(
            f"{word(row, 'emotion')} ({measured(row)})" for _, row in groups(flat, ["emotion"])
        )
        text = f"at strength {whole(at)} the direction does not surely raise its own words: {names}"
        yield Caution("steering", f"{text}.", OWN_WORDS)


def _of_judged(table: pd.DataFrame) -> Iterator[Caution]:
    rows = select(table, metric=("success", "valid"))
    told = select(rows, half="report") if holds(rows, half="report") else rows
    valid = mean(told, metric="valid", control="")
    if valid is not None and valid < VALID_WANTED:
        text = (
            f"only {number(valid)} of the steered continuations can be read at the strength "
            "reported."
        )
        yield Caution("steering", text, JUDGED)
    steered = select(told, metric="success", control="")
    steered = steered[column(steered, "emotion") != "all"]
    beaten = [
        word(row, "emotion")
        for _, row in groups(steered, ["emotion"])
        if not _beyond_random(told, row)
    ]
    if beaten:
        text = (
            f"toward {', '.join(beaten)} the emotion's direction is not told apart from a random "
            "one."
        )
        yield Caution("steering", text, JUDGED)


def _beyond_random(told: pd.DataFrame, row: pd.DataFrame) -> bool:
    """Whether the success of one emotion's direction lies surely above that of random ones."""
    random = beside(told, row.iloc[[0]], control="random")
    if random is None:
        return True
    return decide(number_of(row), nothing=numeral(random, "value")) is Verdict.FOUND


SECTION = Section(
    name="steering",
    title="Steering: does adding the direction make the model express it?",
    question=(
        "The direction is added while the model writes, and a judge says which emotion the "
        "continuation expresses."
    ),
    metrics=("success", "valid", "label_logprob"),
    per=("emotion", "metric", "control", "half"),
    figures=(
        Drawing(
            steering_success,
            reading=(
                "Blue should rise well above orange and grey while green stays high. The star is "
                "the honest number: its prompts had no part in choosing the strength."
            ),
            needs={"metric": "success"},
        ),
        Drawing(
            template_collapse,
            reading=(
                "Blue should stay where grey is. Where it climbs, continuations of different "
                "prompts begin alike: the strength has made a formula of them."
            ),
            needs={"metric": "shared_opening"},
        ),
        Drawing(
            steering_dose,
            reading=(
                "Blue should rise with the strength while orange stays at zero, the unsteered "
                "model. Where other emotions' words rise as well, the direction is not one "
                "emotion's own."
            ),
            needs={"metric": "label_logprob_gain"},
        ),
        Drawing(
            steering_slopes,
            reading=(
                "Dots to the right of zero: texts after which the emotion's words become likelier "
                "the more is added. Orange dots go the other way: a mean above zero says nothing "
                "of those. Where random directions lie to the right of zero, too, any push makes "
                "these words likelier: the figure of the doses tells how far the own direction is "
                "ahead at each strength."
            ),
            needs={"metric": "prompt_slope"},
        ),
    ),
    findings=findings,
    claims=(_REACHED, _RAISED),
    cautions=cautions,
    texts="steered_texts",
)
