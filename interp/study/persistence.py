"""The stage `persistence`: does what is read at a text's last token stay, while the model reads on
in a neutral continuation?
"""

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from interp.analysis.emotion_directions import usual_layer
from interp.analysis.persistence import follow
from interp.analysis.persistence_rows import persistence_rows, words_alone
from interp.analysis.questions import lexicons
from interp.causal.continued import Continued, read_continued
from interp.errors import StatisticsError
from interp.evaluation.readouts import find_testbed
from interp.results import TableRows
from interp.sites import Site
from interp.stats import numbered
from interp.study.folder import Study
from interp.study.representation import stream_sites
from interp.study.transfer import AFFECTIVE
from stimuli.battery import NEUTRAL, Pairs, Stimulus
from stimuli.words import prompts

EMOTIONS_TO_TELL = 3
"""Emotions that categorisation is asked of, at least."""


def persistence(study: Study) -> TableRows:
    """Reception (affective text or twin?) and, of three emotions or more, categorisation, read
    behind the text, at the layer two thirds of the way up, which nothing chose.

    Pairs whose continuations do not become the same tokens are left out, with a warning. Raises
    `StatisticsError` where no continuation fits behind the texts, or too few scenarios are left.
    """
    pairs = followed_pairs(study.pairs, study.settings.limits.followed)
    site = _place(study)
    read, pairs = _read(study, pairs, site)
    half = len(pairs)
    texts, groups = [*pairs.affective, *pairs.neutral], [*pairs.groups, *pairs.groups]
    rows = _asked(study, "reception", read, texts, [AFFECTIVE] * half + [NEUTRAL] * half, groups)
    closed = "categorisation" in study.conditions.closed
    if len(pairs.emotions) >= EMOTIONS_TO_TELL and not closed:
        own = read._replace(states=read.states[:half], same=read.same[:half])
        labels = [item.emotion for item in pairs.affective]
        rows += _asked(study, "categorisation", own, pairs.affective, labels, pairs.groups)
    place = {"site": site.name, "layer": site.layer, "position": study.position}
    return [{**place, **row} for row in rows]


def followed_pairs(pairs: Pairs, most: int) -> Pairs:
    """The pairs of the first scenarios, until every emotion has `most` of them. Scenarios are kept
    whole, in the order in which they come.
    """
    emotions: dict[str, dict[str, None]] = {}
    for pair in pairs:
        emotions.setdefault(pair.affective.group, {})[pair.affective.emotion] = None
    taken: Counter[str] = Counter()
    kept = set()
    for group, own in emotions.items():
        if any(taken[emotion] < most for emotion in own):
            kept.add(group)
            taken.update(own.keys())
    return Pairs(pair for pair in pairs if pair.affective.group in kept)


def continuations_for(study: Study) -> Sequence[str]:
    """The neutral continuations in the language of the study's model: a testbed's own where it has
    some, else those of the package.
    """
    bed = find_testbed(study.model)
    own: Sequence[str] = () if bed is None else bed.continuations
    plain: list[str] = prompts("continuations")["plain"]
    return own or plain


def _place(study: Study) -> Site:
    usual = usual_layer(study.model.dims.n_layers)
    return min(stream_sites(study), key=lambda site: (abs(site.layer - usual), site.layer))


def _read(study: Study, pairs: Pairs, site: Site) -> tuple[Continued, Pairs]:
    """The states of all affective, then all neutral texts, each scenario under one continuation;
    and the pairs of which both could be read.
    """
    known = continuations_for(study)
    chosen = [known[number % len(known)] for number in numbered(pairs.groups).tolist()]
    most = study.settings.limits.offsets
    read = read_continued(
        study.model,
        [*pairs.affective, *pairs.neutral],
        [*chosen, *chosen],
        site=site,
        offsets=[2**power for power in range(most.bit_length()) if 2**power <= most],
    )
    half = len(pairs)
    same = read.same[:half] & read.same[half:]
    if not same.any():
        raise StatisticsError("no pair's texts are followed by the same tokens.")
    if not same.all():
        warnings.warn(
            f"left out {int((~same).sum())} of {len(same)} pairs: the tokenizer joins the end of "
            "a text with the continuation, which is then not the same behind both.",
            stacklevel=3,
        )
    both = np.concatenate([same, same])
    kept = Pairs(pair for pair, ok in zip(pairs, same.tolist(), strict=True) if ok)
    return Continued(read.offsets, read.states[both], read.same[both]), kept


def _asked(
    study: Study,
    question: str,
    read: Continued,
    texts: Sequence[Stimulus],
    labels: Sequence[str],
    groups: Sequence[str],
) -> TableRows:
    how = {"n_splits": study.settings.folds, "seed": study.settings.seed}
    with threadpool_limits(1):  # the fits are small: a second thread waits more than it works
        told = follow(read.states, labels, groups, offsets=read.offsets, **how)
        words = words_alone(told, [item.text for item in texts], lexicons())
    return [{"task": question, **row} for row in persistence_rows(told, words)]
