"""Patching: what may be said of its numbers, and what to doubt."""

from collections.abc import Iterator

import pandas as pd

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import (
    Caution,
    Compared,
    Finding,
    Question,
    claim,
    number_of,
    p_of,
    rivals_of,
)
from interp.reporting.formatting import p_value
from interp.reporting.restoration import patching_curves, patching_map
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    POOLED,
    beside,
    column,
    groups,
    holds,
    layers,
    measured,
    numbers,
    place,
    pooled,
    select,
    word,
    words_of,
)
from interp.reporting.swaps import (
    EMOTIONS_APART,
    OWN_EMOTION,
    SWAPPED,
    between_emotions,
    emotion_swaps,
    gate_of,
    nothing_to_move,
)

NESTED_RESTORATION = "nested_restoration"
ANSWERING = "last"
"""The position whose patches speak of a cause: what the model has computed by then. At the edited
tokens an early patch only writes the other twin's words.
"""
_NO_EFFECT = {
    Verdict.NOT_FOUND: "The readout does not tell the twins apart, so there is nothing to restore.",
    Verdict.INVERTED: "The emotional texts make their own words less likely, so there is nothing "
    "to restore.",
    Verdict.CANNOT_SAY: "Whether the readout tells the twins apart cannot be said: too few "
    "scenarios.",
}
_SHARE = (
    "the readout's difference ({over}; each fold of scenarios chose its site out of {n}, "
    "most often {place})"
)
_OF_A_PATCH = {
    Verdict.FOUND: f"{{put}} {{does}} this share of {_SHARE}.",
    Verdict.NOT_FOUND: f"{{put}} is not found to move {_SHARE}.",
    Verdict.INVERTED: f"{{put}} moves the wrong way {_SHARE}.",
    Verdict.CANNOT_SAY: f"{{put}}: what it moves of {_SHARE} has no interval.",
}
_PUT = {
    "noise": "The neutral text's state at the {where}, put into the emotional one,",
    "denoise": "The emotional text's state at the {where}, put into the neutral one,",
}
_DOES = {"noise": "takes away", "denoise": "brings back"}
_WHERE = {"last": "last token", "edit": "edited tokens"}


def findings(table: pd.DataFrame) -> list[Finding]:
    """One finding for each way of patching twins, at the last token and at the edit, or, where
    nothing can be restored, one that says so; and one of patches between emotions.
    """
    return [*_between_twins(table), *between_emotions(table)]


def _between_twins(table: pd.DataFrame) -> list[Finding]:
    if not holds(table, metric="restoration", control=""):
        only_swapped = holds(table, mode=SWAPPED) and not holds(table, metric="logit_diff")
        return [] if only_swapped else [_no_effect(table)]
    if not holds(table, metric=NESTED_RESTORATION, position=list(_WHERE)):
        return []
    told = select(table, metric=NESTED_RESTORATION, position=list(_WHERE))
    rows, together = pooled(told)
    if not together:  # only some emotions have something to restore: the surest of them
        effects = select(table, metric="total_effect", emotion=list(column(told, "emotion")))
        surest = effects.iloc[[int(numbers(effects, "p_corrected").to_numpy().argmin())]]
        rows = select(told, emotion=word(surest, "emotion"))
    found = []
    for name, row in groups(rows, ["position", "mode"]):
        cells = select(
            table, metric="restoration", control="", **words_of(row, "emotion", "position", "mode")
        )
        whole_effect = beside(table, row, metric="total_effect", position="", site="", layer="")
        control = beside(table, row, metric="restoration", control="random_source")
        source = "another scenario's state, same place"
        compared = [(source, measured(control))] if control is not None else []
        compared += (
            [("difference to restore (nats)", measured(whole_effect))]
            if whole_effect is not None
            else []
        )
        compared += _reach(cells)
        over = "all emotions" if word(row, "emotion") in POOLED else word(row, "emotion")
        p = p_of(row, "p")
        compared += [] if p is None else [(word(row, "p_of"), p_value(p))]
        verdict = decide(number_of(row), nothing=0.0, p=p)
        mode, position = word(row, "mode"), word(row, "position")
        where = _WHERE.get(position, position)
        told_of = {"over": over, "n": len(cells), "place": place(row), "mode": mode, "where": where}
        told_of |= {"put": _PUT.get(mode, _PUT["denoise"]).format(where=where)}
        told_of |= {"does": _DOES.get(mode, "brings back"), "compared": compared, "about": name}
        told_of |= {"family": _RESTORED, "opened": gate_of(whole_effect)}
        told_of["rivals"] = rivals_of(("source", "another scenario's state", control))
        if position == ANSWERING:
            told_of["answers"] = Question.CAUSAL
        what = _claimed(position, mode)
        found.append(claim("patching", what, verdict, row, _OF_A_PATCH, p=p, **told_of))
    return found


def _claimed(position: str, mode: str) -> str:
    """What is claimed of patches of one kind."""
    return f"patching at {position}, {mode} restores the readout's difference"


_RESTORED = "what is restored"
"""Both positions and both ways are one question of the report."""

_TWINS_APART = "the readout tells the twins apart"


def _no_effect(table: pd.DataFrame) -> Finding:
    if not holds(table, metric="total_effect"):
        return Finding(
            stage="patching",
            what=_TWINS_APART,
            verdict=Verdict.NOT_FOUND,
            sentence=_NO_EFFECT[Verdict.NOT_FOUND],
        )
    rows, _ = pooled(select(table, metric="total_effect"))
    return nothing_to_move(rows, _TWINS_APART, _NO_EFFECT)


def _reach(cells: pd.DataFrame) -> Compared:
    """The layers at which one patch of the stream restores more than half: where the emotion
    stands.
    """
    stream = cells[column(cells, "site") == "resid_post"]
    over = stream[numbers(stream, "value") > 0.5]
    if stream.empty:
        return []
    return [
        ("layers of resid_post that restore more than half", layers(over) if len(over) else "none")
    ]


PAIRS_WANTED = 8
"""The number of distinct pairs per cell below which an interval over pairs means little."""


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Cells that rest on few pairs."""
    few = int(table["n"].min()) if len(table) else 0
    if 0 < few < PAIRS_WANTED:
        text = (
            f"some cells rest on {few} pairs; fewer than {PAIRS_WANTED} distinct pairs make an "
            "interval unreliable."
        )
        yield Caution("patching", text)


SECTION = Section(
    name="patching",
    title="Patching: which activations carry the emotion to the answer?",
    question=(
        "One activation of one text is put into the run of its twin. Where the answer "
        "follows, the activation carries what the twins differ in."
    ),
    metrics=(
        "restoration",
        "total_effect",
        "logit_diff",
        "restoration_target",
        "restoration_others",
        "copy_restoration",
        "success",
    ),
    per=("metric", "position", "mode", "site", "control"),
    figures=(
        Drawing(
            patching_map,
            reading=(
                "Red cells move the answer toward the text that the activation came from; in "
                "brackets it is not sure that they do. The difference tends to start at the edit "
                "and to reach the last token later."
            ),
            needs={"metric": "logit_diff"},
        ),
        Drawing(
            patching_curves,
            reading=(
                "Where the dotted line is as high as the solid one, what is carried is shared by "
                "all scenarios of the emotion; what the solid line has above it belongs to the "
                "one story."
            ),
            needs={"metric": "logit_diff"},
        ),
        Drawing(
            emotion_swaps,
            reading=(
                "A row far above chance in every column: what was patched in says which emotion it "
                "is. A row at chance, where twins are restored at the same place: what is carried "
                "there says that there is emotion, not which."
            ),
            needs={"mode": SWAPPED, "metric": "success"},
        ),
    ),
    findings=findings,
    claims=(
        *(_claimed(where, way) for where in _WHERE for way in _DOES),
        _TWINS_APART,
        OWN_EMOTION,
        EMOTIONS_APART,
    ),
    cautions=cautions,
)
