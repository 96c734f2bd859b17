"""Directions of replies that were elicited under instructions, and what of them holds on other
questions.

    b       a block of questions that holds replies of every emotion
    m_be    the mean of the replies of emotion e to the questions of b
    v_e     unit(mean_b (m_be - mean_e' m_be')), group-centred over the emotions

Where a judge accepts every reply, each question is a block of its own, and v_e is the direction of
*Do LLMs "Feel"?* (Emotion Circuits). Else questions are joined, so that all accepted replies count
and no question lies in two blocks. The vectors sum to zero before they are made units: their mean
cosine is about -1/(E-1), whatever they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.analysis.dependence import blocks_of, influence
from interp.analysis.directions import fit_groups, separation_share
from interp.analysis.features import standardiser
from interp.analysis.folds import Folds, fold_of
from interp.analysis.methods import unit
from interp.analysis.predictions import Predictions
from interp.analysis.stats import weighted_auroc
from interp.directions import Direction
from interp.errors import StatisticsError
from interp.shares import Share
from interp.sites import Site
from interp.stats import Labels, codes, numbered

ELICITED = "elicited"
"""What the directions, and the rows of their tables, call their method."""

_Means = Float[np.ndarray, "emotion d_model"]


class KeptReplies(NamedTuple):
    """Kept replies: what a site holds (`x`), the emotion that each was asked for, its question."""

    x: Float[np.ndarray, "reply d_model"]
    emotions: Sequence[str]
    questions: Sequence[int]


def question_blocks(held: Bool[np.ndarray, "question emotion"]) -> Int[np.ndarray, " question"]:
    """The block of each question, from 0; -1 for one without a reply. Each block holds every
    emotion, and as few questions as a greedy choice finds.

    Every question with a reply of the rarest emotion begins a block; each other one goes where it
    brings most that is missing, else where there is least. Blocks that still lack an emotion are
    joined. Raises `StatisticsError` where there is no reply of some emotion.
    """
    if not held.any(axis=0).all():
        raise StatisticsError("an emotion has no reply: leave it out, or ask more questions.")
    seeds = np.flatnonzero(held[:, held.sum(axis=0).argmin()])
    block = np.full(len(held), -1, dtype=np.int64)
    block[seeds], has, size = np.arange(len(seeds)), held[seeds].copy(), np.ones(len(seeds))
    for question in np.flatnonzero(held.any(axis=1) & (block < 0)):
        gain = (held[question] & ~has).sum(axis=1)
        to = np.lexsort((size, -gain))[0]
        block[question], has[to], size[to] = to, has[to] | held[question], size[to] + 1
    return _joined(block, has)


def _joined(
    block: Int[np.ndarray, " question"], has: Bool[np.ndarray, "block emotion"]
) -> Int[np.ndarray, " question"]:
    """The blocks, those that lack an emotion joined until they have it; what is left of these goes
    into the first block.
    """
    into, begun = np.arange(len(has)), -1
    got = np.zeros(has.shape[1], dtype=bool)
    for one in np.flatnonzero(~has.all(axis=1)).tolist():
        begun = one if begun < 0 else begun
        into[one], got = begun, got | has[one]
        if got.all():
            begun, got = -1, np.zeros_like(got)
    if begun >= 0:
        others = into[into != begun]
        into[into == begun] = others[0] if len(others) else begun
    used = block >= 0
    found = block.copy()
    found[used] = codes(into[block[used]])
    return found


def elicited_directions(
    replies: KeptReplies, *, site: Site, norm: float, origin: Mapping[str, Any]
) -> dict[str, Direction]:
    """The direction of each emotion, its natural length cross-fitted over blocks of questions;
    `norm` is that of the replies' tokens, `origin` where they come from.

    Raises `StatisticsError` for fewer than two emotions, or two blocks.
    """
    names = sorted(set(replies.emotions))
    told = _block_means(replies, names)
    if len(told) < 2 or len(names) < 2:
        raise StatisticsError(
            f"{len(told)} blocks of questions hold a kept reply of each of {len(names)} emotions: "
            "need >= 2 of both. Ask more questions, or of fewer emotions."
        )
    found = fit_groups(
        told.reshape(-1, told.shape[2]),
        np.tile(names, len(told)),
        np.repeat(np.arange(len(told)), len(names)),
        site=site,
    )
    made = {**origin, "operation": "add scale * vector to the residual stream", "blocks": len(told)}
    return {
        emotion: replace(one, method=ELICITED, stream_norm=norm).with_origin(made)
        for emotion, one in found.items()
    }


class HeldOut:
    """Kept replies and the folds of their questions, in each of which directions are fitted on the
    other questions; as often as wanted, with labels that changed places.

    Labels that change places within a question change no block. Rows are turned into as many axes
    as there are replies: lengths and projections stay what they are.
    """

    def __init__(self, replies: KeptReplies, folds: Folds) -> None:
        self.names = tuple(sorted(set(replies.emotions)))
        self.kind, self.question = codes(replies.emotions), numbered(replies.questions)
        self.folds, self.replies = folds, replies
        self.x = _turned(replies.x)
        self.weights = [self._weights(fold.train) for fold in folds]
        counts = np.bincount(self.question)
        self.one_of_all = math.exp(-sum(math.lgamma(one + 1) for one in counts))
        """The share that one order of the labels has in all."""

    def predictions(self) -> Predictions:
        """What each reply projects on every emotion's direction, as fitted on other questions, from
        the mean of the emotions' means: its "probabilities", of which only ranks are read.
        """
        y = np.array(self.replies.emotions)
        names = np.asarray(self.replies.questions).astype(str)
        block = blocks_of(names)
        taught = np.zeros((int(block.max()) + 1,) * 2)
        for fold in self.folds:
            z = standardiser(self.x[fold.train])(self.x)
            taught += influence(z, y, block, fold.train, fold.test)
        number = fold_of(self.folds, len(y))
        return Predictions(
            self.scores(self.kind), self.names, y, names, number, np.arange(len(y)), (),
            influence=taught,
        )  # fmt: skip

    def scores(self, kind: Int[np.ndarray, " reply"]) -> Float[np.ndarray, "reply emotion"]:
        """The held-out projections where these are the replies' emotions."""
        found = np.full((len(kind), len(self.names)), np.nan)
        for fold, weights in zip(self.folds, self.weights, strict=True):
            means = self._means(self.x, kind, fold.train, weights)
            found[fold.test] = _projected(self.x[fold.test], means)
        return found

    def shuffled(self, draws: int, *, seed: int) -> Float[np.ndarray, "draw _"]:
        """The AUROC of each emotion, and last their mean, where labels changed places within
        questions, in every draw.
        """
        random, found = np.random.default_rng(seed), []
        number = fold_of(self.folds, len(self.kind))
        order = np.argsort(self.question, kind="stable")
        for _ in range(draws):
            kind = np.empty_like(self.kind)
            kind[order] = self.kind[np.lexsort((random.random(len(order)), self.question))]
            found.append(aurocs_of(self.scores(kind), kind, number))
        return np.array(found)

    def against(self, neutral: KeptReplies, told: Predictions) -> dict[str, tuple[Share, Labels]]:
        """The AUROC of each emotion's replies against neutral ones, on the same held-out
        directions, and the questions that it is over.
        """
        fold_at = dict(zip(self.replies.questions, told.fold.tolist(), strict=True))
        kept = [at for at, one in enumerate(neutral.questions) if one in fold_at]
        fold = np.array([fold_at[neutral.questions[at]] for at in kept], dtype=np.int64)
        scores = np.empty((len(kept), len(self.names)))
        for number, (one, weights) in enumerate(zip(self.folds, self.weights, strict=True)):
            means = self._means(self.replies.x, self.kind, one.train, weights)
            mine = fold == number
            scores[mine] = _projected(neutral.x[kept][mine], means)
        found: dict[str, tuple[Share, Labels]] = {}
        names = np.array([str(neutral.questions[at]) for at in kept])
        for place, emotion in enumerate(self.names):
            own = told.y == emotion
            if not np.isin(told.fold[own], fold).any():
                continue
            groups = np.concatenate([told.groups[own], names])
            share = separation_share(
                np.concatenate([told.probability[own, place], scores[:, place]]),
                np.repeat([True, False], [own.sum(), len(kept)]),
                np.concatenate([told.fold[own], fold]),
                groups,
                inflation=told.inflation,
            )
            found[emotion] = share, groups
        return found

    def _weights(self, train: Int[np.ndarray, " _"]) -> Float[np.ndarray, "row emotion"]:
        """What a training reply counts for in an emotion's mean of block means, if it is of it."""
        question, kind = self.question[train], self.kind[train]
        held = np.zeros((int(self.question.max()) + 1, len(self.names)), dtype=bool)
        held[question, kind] = True
        block = question_blocks(held)[question]
        counts = np.zeros((int(block.max()) + 1, len(self.names)))
        np.add.at(counts, (block, kind), 1)
        return 1 / (len(counts) * counts[block])

    def _means(
        self,
        x: Float[np.ndarray, "reply axis"],
        kind: Int[np.ndarray, " reply"],
        train: Int[np.ndarray, " _"],
        weights: Float[np.ndarray, "row emotion"],
    ) -> _Means:
        return ((kind[train][:, None] == np.arange(len(self.names))) * weights).T @ x[train]


def _projected(
    x: Float[np.ndarray, "row axis"], means: Float[np.ndarray, "emotion axis"]
) -> Float[np.ndarray, "row emotion"]:
    """The rows on each emotion's direction, from the mean of the emotions' means."""
    centre = means.mean(axis=0)
    return (x - centre) @ np.stack([unit(one - centre) for one in means]).T


def _block_means(
    replies: KeptReplies, names: Sequence[str]
) -> Float[np.ndarray, "block emotion d_model"]:
    question, kind = numbered(replies.questions), codes(replies.emotions)
    held = np.zeros((int(question.max(initial=-1)) + 1, len(names)), dtype=bool)
    held[question, kind] = True
    block = question_blocks(held)[question]
    return np.array(
        [
            [replies.x[(block == one) & (kind == at)].mean(axis=0) for at in range(len(names))]
            for one in range(int(block.max()) + 1)
        ]
    )


def _turned(x: Float[np.ndarray, "reply d_model"]) -> Float[np.ndarray, "reply axis"]:
    """The rows in as few axes as hold them."""
    if x.shape[1] <= len(x):
        return x.astype(np.float64)
    left, spread, _ = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    return np.asarray(left * spread)


def aurocs_of(
    scores: Float[np.ndarray, "reply emotion"],
    kind: Int[np.ndarray, " reply"],
    fold: Int[np.ndarray, " reply"],
) -> Float[np.ndarray, " _"]:
    """The AUROC of each emotion inside folds, and last their mean."""
    own = [
        weighted_auroc(column, (kind == at)[None] * 1.0, (kind != at)[None] * 1.0, strata=fold)[0]
        for at, column in enumerate(scores.T)
    ]
    return np.array([*own, np.mean(own)])
