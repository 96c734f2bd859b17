"""Tasks behind framings: the sentences and the tasks of the package's data, and how well a model
does the tasks behind each of them.

A task is done right where its right answer is likelier behind it than the wrong one, which is the
right answer of its neighbour: a model that likes one word best, whatever is asked, is right in half
of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

import stimuli
from interp.analysis.framings import CALM, NEUTRAL_FRAMING
from interp.causal.readout import Readout
from interp.errors import UsageError
from interp.evaluation.forced_choice import label_scores
from interp.models import LanguageModel
from stimuli.battery import NEUTRAL, Stimulus

RIGHT, WRONG = "right", "wrong"

APPEALS = ("positive", "negative", NEUTRAL_FRAMING)
"""Families of sentences that stand before a task as they are (EmotionPrompt, NegativePrompt, and
their neutral counterparts)."""


class FramedTask(NamedTuple):
    """A task: the `text` whose next word is asked for, both answers, and its `pair`, which shares
    them.
    """

    text: str
    right: str
    wrong: str
    pair: int


def easy_tasks(n: int) -> list[FramedTask]:
    """The package's first tasks, whole pairs of them spread over all kinds, `n` at most."""
    known = stimuli.prompts("tasks")["pairs"]
    wanted = min(n // 2, len(known))
    chosen = sorted({int(at) for at in np.linspace(0, len(known) - 1, wanted)})
    return [
        FramedTask(one["task"], one[RIGHT], one[WRONG], at) for at in chosen for one in known[at]
    ]


def framings() -> dict[str, list[str]]:
    """The framings by name, calm first, all of equally many wordings, each with `{task}`."""
    known = {name: one for name, one in stimuli.prompts("framings").items() if name != "purpose"}
    appeals = stimuli.prompts("emotional")
    n = min(map(len, known.values()))
    found = {CALM: known.pop(CALM)[:n], **{name: one[:n] for name, one in known.items()}}
    return found | {name: [_before(text) for text in appeals[name][:n]] for name in APPEALS}


def stress_statements() -> list[tuple[float, str]]:
    """The doses of stress, each with a statement that has `{task}`."""
    levels = stimuli.prompts("stress")["levels"]
    return [(float(level), _before(text)) for level, texts in levels.items() for text in texts]


def framed(framing: str, task: FramedTask, name: str) -> Stimulus:
    """The task behind a framing, as a text named `name`."""
    return Stimulus(name, framing.replace("{task}", task.text), NEUTRAL)


def answer_margins(
    model: LanguageModel, framings: Sequence[str], tasks: Sequence[FramedTask]
) -> Float[np.ndarray, "framing task"]:
    """How much likelier the right answer is than the wrong one behind each framing of each task, in
    nats. Raises `UsageError` for an answer that the vocabulary lacks; and as `encode_stimuli`.
    """
    found = np.empty((len(framings), len(tasks)))
    for at, task in enumerate(tasks):
        readout = Readout({RIGHT: [task.right], WRONG: [task.wrong]}, "")
        bound = readout.bind(model)
        if lost := {RIGHT, WRONG} - set(bound.emotions):
            words = ", ".join(repr(getattr(task, one)) for one in sorted(lost))
            raise UsageError(
                f"the vocabulary of {model.name} has no word {words}: it cannot answer "
                f"{task.text!r}."
            )
        items = [framed(text, task, f"{at}-{place}") for place, text in enumerate(framings)]
        scores = label_scores(model, readout, bound, items)
        found[:, at] = scores[:, bound.column(RIGHT)] - scores[:, bound.column(WRONG)]
    return found


def _before(sentence: str) -> str:
    return f"{sentence} {{task}}"
