"""The questions that probes are asked of a battery, answered beside what the texts alone tell.

*Reception*: is this text the affective one of its pair, or the neutral one? *Categorisation*: which
emotion does it evoke? An answer has the probe at every site, and the text baselines, the control
task and the nuisances on the same folds.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import stimuli
from interp.analysis.baselines import Lexicons, count_listed, words
from interp.analysis.controls import can_compete
from interp.analysis.design import Design
from interp.analysis.refits import Sites
from interp.analysis.site_probes import (
    Sweep,
    Task,
    prepare,
    probe_sites,
    text_predictions,
    text_score_rows,
)
from interp.analysis.spread import spread_by
from interp.defaults import CORES, PROBE
from interp.sites import STREAM, Site
from stimuli.battery import Pair, Stimulus

QUESTIONS = ("reception", "categorisation")


def reception(pairs: Sequence[Pair]) -> tuple[list[Stimulus], list[str]]:
    """The texts of `pairs`, twin after twin, and what each of them is."""
    return [item for pair in pairs for item in pair], ["affective", "neutral"] * len(pairs)


def task_of(
    question: str,
    items: Sequence[Stimulus],
    labels: Sequence[str],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Task:
    """The question as a task over the items' scenarios. Raises as `Design.infer` and
    `prepare`.
    """
    design = Design.infer(labels, [item.group for item in items])
    return prepare(question, design, n_splits=folds, seed=seed)


def cells(sites: Sequence[Site], positions: Sequence[str]) -> list[tuple[Site, str]]:
    """Where probes read: all sites by the first position rule, the stream by the others too."""
    first, *others = positions
    stream = [site for site in sites if site.name == STREAM]
    return [(site, first) for site in sites] + [(site, rule) for rule in others for site in stream]


def answer(
    task: Task,
    items: Sequence[Stimulus],
    sites: Sites,
    *,
    probe: str = PROBE,
    executor: str = CORES,
    beside: Sequence[str] = (),
) -> Sweep:
    """Rows of the probe at every site, then of the text baselines, which have no site.

    `sites()` gives what to write in a site's rows and its activations, one row per item, site after
    site; it is called twice. `executor` says who works (`spread.spread_by`), `beside` what else is
    measured at every place (`interp.analysis.beside`). Raises as `probe_sites`.
    """
    with spread_by(executor):
        texts = text_predictions([item.text for item in items], task, lexicons=lexicons())
        swept = probe_sites(
            sites,
            task,
            probe=probe,
            nuisances=nuisances(task, items),
            texts=texts,
            beside=beside,
        )
    baselines = [{"site": "", "position": "", **row} for row in text_score_rows(texts, task)]
    return replace(swept, rows=[*swept.rows, *baselines], texts=texts)


def nuisances(task: Task, items: Sequence[Stimulus]) -> dict[str, list[str]]:
    """What else a probe could read: the texts' length (in thirds), negation, domain and person.

    What varies too little to be told from scenario to scenario is left out, with a warning.
    """
    sizes = np.array([len(words(item.text)) for item in items])
    thirds = np.searchsorted(np.quantile(sizes, (1 / 3, 2 / 3)), sizes)
    negation = lexicons()["negation"]
    known = {
        "length": [("short", "middle", "long")[third] for third in thirds],
        "negation": [str(count_listed(item.text, negation) > 0) for item in items],
        "domain": [item.domain or "" for item in items],
        "person": [str(item.fields.get("person", "")) for item in items],
    }
    kept = {name: labels for name, labels in known.items() if can_compete(labels, task.folds)}
    varied = (name for name, labels in known.items() if len(set(labels)) > 1)
    if lost := ", ".join(name for name in varied if name not in kept):
        reason = "cannot be compared with the emotion: some fold lacks a value."
        warnings.warn(f"{task.name}: {lost} of the texts {reason}", stacklevel=3)
    return kept


def lexicons() -> Lexicons:
    """The word lists that the text baselines count."""
    negations, function = stimuli.lexicon("negations"), stimuli.lexicon("function_words")
    return {
        "negation": [*negations["plain"], *negations["contracted"]],
        "function_words": [word for listed in function.values() for word in listed],
    }
