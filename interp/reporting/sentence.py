"""The answer in words: each badge as one part of a sentence, chosen by its verdict and no stronger
than its number.
"""

from collections.abc import Mapping, Sequence

from interp.reporting.decisions import Verdict
from interp.reporting.finding import JUDGED, OWN_WORDS, Finding, Question

Clauses = Mapping[Verdict, str]

_REPRESENTED: Clauses = {
    Verdict.FOUND: "a linear probe {does}, beyond the words ({held})",
    Verdict.NOT_TOLD_APART: "a linear probe {does}, {apart} ({held})",
    Verdict.NOT_FOUND: "no place was found where a linear probe {does} ({held})",
    Verdict.INVERTED: "a linear probe ranks the wrong way round where it {does} ({held})",
    Verdict.CANNOT_SAY: "whether a linear probe {does} cannot be said",
}
_LAYER: Clauses = {
    Verdict.FOUND: "in the stream first at layer {layer} of {n_layers} (AUROC {value})",
    Verdict.NOT_TOLD_APART: "though at no single layer surely so (highest AUROC {value})",
    Verdict.NOT_FOUND: "though at no single layer surely so (highest AUROC {value})",
    Verdict.INVERTED: "though at no single layer surely so (highest AUROC {value})",
    Verdict.CANNOT_SAY: "from which layer on cannot be said",
}
_CAUSAL: Clauses = {
    Verdict.NOT_FOUND: "no part of the model was found by which it causes the emotion's words "
    "({held})",
    Verdict.INVERTED: "the parts that should cause the emotion's words move them the wrong way "
    "round ({held})",
    Verdict.CANNOT_SAY: "whether it causes the emotion's words cannot be said",
}
_JUDGED: Clauses = {
    Verdict.FOUND: "adding an emotion's direction makes the model write it, on average ({held})",
    Verdict.NOT_FOUND: "adding an emotion's direction is not found to make the model write it "
    "({held})",
    Verdict.INVERTED: "adding an emotion's direction makes the model write it less often than "
    "random directions do ({held})",
    Verdict.CANNOT_SAY: "whether adding an emotion's direction makes the model write it cannot be "
    "said",
}
_WORDS: Clauses = {
    Verdict.FOUND: "adding an emotion's direction makes its own words likelier on average ({held})",
    Verdict.NOT_FOUND: "adding an emotion's direction is not found to make its own words likelier "
    "({held})",
    Verdict.INVERTED: "adding an emotion's direction makes its own words less likely on average "
    "({held})",
    Verdict.CANNOT_SAY: "whether adding an emotion's direction makes its own words likelier cannot "
    "be said",
}
_OPEN = {
    Question.REPRESENTED: "whether emotion is represented beyond the words cannot be said",
    Question.LAYER: "",
    Question.CAUSAL: "whether the model's parts cause the emotion's words cannot be said",
    Question.STEERABLE: "whether it can be steered cannot be said",
}
"""The part of the sentence where no finding speaks to the question."""


def clause(question: Question, verdict: Verdict, decided: Sequence[Finding]) -> str:
    """The part of the sentence that answers a question by its verdict; `decided` are the findings
    that decided it.
    """
    if not decided:
        return _OPEN[question]
    if question is Question.CAUSAL:
        return _cause(verdict, decided)
    first = decided[0]
    clauses = {Question.REPRESENTED: _REPRESENTED, Question.LAYER: _LAYER}.get(
        question, _JUDGED if first.about == JUDGED else _WORDS
    )
    return clauses[verdict].format(**first.told, held=number_told(first), value=first.value)


def number_told(found: Finding) -> str:
    """A finding's number in its unit, and what it is first held against, as text."""
    told = _measured(found)
    if found.rivals:
        told += f"; {found.rivals[0].name} {found.rivals[0].value}"
    elif found.stage == "probes":
        told += "; chance 0.5"
    return f"{told}; no written text was judged" if found.about == OWN_WORDS else told


def _measured(found: Finding) -> str:
    if not found.value:
        return "no number can be given"
    before, after = _unit(found)
    return f"{before}{found.value}{after}"


def _unit(found: Finding) -> tuple[str, str]:
    """What stands before and behind a finding's number."""
    if found.answers == Question.LAYER:
        return f"layer {found.told['layer']}: AUROC ", ""
    if found.stage == "probes":
        return "AUROC ", ""
    if found.stage == "patching":
        return f"{found.told['where']}, {found.told['mode']}: ", " of the readout's difference"
    if found.stage == "ablation" and found.about.endswith("own"):
        return f"own words, own {found.told['kind']}s rather than others': ", " nats"
    if found.stage == "ablation":
        return f"top {found.told['k']} {found.told['kind']}s: ", " nats"
    if found.about == JUDGED:
        return f"share at strength {found.told['at']}: ", ""
    return f"own words at strength {found.told['at']}: ", " nats"


def _cause(verdict: Verdict, decided: Sequence[Finding]) -> str:
    """What is needed, and what is carried; of several kinds of parts the first."""
    if verdict is not Verdict.FOUND:
        return _CAUSAL[verdict].format(held=number_told(decided[0]))
    needed = [one for one in decided if one.stage == "ablation"]
    carried = [one for one in decided if one.stage == "patching"]
    told = [_NEEDED.format(**needed[0].told, held=number_told(needed[0]))] if needed else []
    return ", and ".join([*told, *([_carried(carried[0])] if carried else [])])


_NEEDED = (
    "without the {k} {kind}s that write it most an emotion's own words become less "
    "likely on average ({held})"
)


def _carried(found: Finding) -> str:
    told = (
        "an emotional text's state at its last token, put into the neutral twin, brings "
        f"{found.value} of the difference between their answers back"
    )
    source = found.rival("source")
    if source is None:
        return f"{told} (another scenario's state was not tried)"
    common, beyond = source.number.low > 0, found.number.low > source.number.high
    if common and beyond:
        end = "less: what is carried is the emotion's common part, and the story too"
    elif common:
        end = "as much: what is carried is the emotion's common part and not the story"
    elif beyond:
        end = "none that is found: what is carried is the story's, and no common part is seen"
    else:
        end = "too uncertain a share to tell the emotion's common part from the story"
    return f"{told}, and another scenario's state {end} ({source.value})"
