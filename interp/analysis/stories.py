"""Directions of many emotions from stories: the story's mean less the mean of all tokens, without
what varies most in neutral texts.

    m_e   mean over the stories of e of the mean over their tokens behind the first k
    g     mean over all those tokens of all stories (long stories count more)
    v_e   m_e - g, less its part in the neutral texts' first principal components, made unit length

After Sofroniew et al. (2026), *Emotion Concepts and their Function in a Large Language Model*. Only
sums are kept: for each emotion, writer and part of the scenarios one vector, so that the memory
does not grow with the stories. The parts are what is drawn again by intervals, and what a writer's
own stories are told of other ones by.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.analysis.stats import composition
from interp.errors import DataError, StatisticsError
from interp.stats import Labels, numbered

STORY_PARTS = 10
"""Parts that the scenarios are dealt into."""

NEUTRAL_SHARE = 0.5
"""The share of the neutral texts' variance that the components explain which are taken out."""


class StoryLabels(NamedTuple):
    """Of each story: the number of its emotion, of its writer, of its part, and how many tokens its
    mean is of; and the names of emotions and writers.
    """

    emotion: Int[np.ndarray, " story"]
    writer: Int[np.ndarray, " story"]
    part: Int[np.ndarray, " story"]
    tokens: Float[np.ndarray, " story"]
    emotions: tuple[str, ...]
    writers: tuple[str, ...]

    def at(self, rows: Sequence[int] | Int[np.ndarray, " row"]) -> "StoryLabels":
        """The same of some stories."""
        kept = np.asarray(rows)
        return self._replace(
            emotion=self.emotion[kept],
            writer=self.writer[kept],
            part=self.part[kept],
            tokens=self.tokens[kept],
        )


def label_stories(
    emotions: Labels, writers: Labels, groups: Labels, tokens: Sequence[int]
) -> StoryLabels:
    """The labels of stories; scenarios are dealt into `STORY_PARTS` (`deal_scenarios`).

    Raises `StatisticsError` for fewer than two emotions, and an emotion whose stories are all of
    fewer than three parts: then nothing says how sure its mean is.
    """
    names, emotion = np.unique(np.asarray(emotions).astype(str), return_inverse=True)
    who, writer = np.unique(np.asarray(writers).astype(str), return_inverse=True)
    part = deal_scenarios(emotion, groups, n=STORY_PARTS)
    if len(names) < 2:
        raise StatisticsError(f"the stories tell of {len(names)} emotion: two or more are needed.")
    for at, name in enumerate(names.tolist()):
        own = len(np.unique(part[emotion == at]))
        if own < 3:
            raise StatisticsError(
                f"the stories of {name!r} are of {own} scenarios (of {STORY_PARTS} parts); three "
                "or more are needed. Add stories, or leave the emotion out (--emotions)."
            )
    counts = np.asarray(tokens, dtype=np.float64)
    if not (counts > 0).all():
        raise DataError("a story has no token behind those that are skipped: leave it out.")
    return StoryLabels(
        emotion.reshape(-1),
        writer.reshape(-1),
        part,
        counts,
        tuple(names.tolist()),
        tuple(who.tolist()),
    )


def deal_scenarios(labels: Labels, groups: Labels, *, n: int) -> Int[np.ndarray, " item"]:
    """The number of the part, of `n`, of each item's scenario. Scenarios with the same labels are
    dealt in turn, as they come, so that every part has its share of every label.
    """
    kind = composition(labels, groups)
    number = np.empty(len(kind), dtype=np.int64)
    number[np.argsort(kind, kind="stable")] = np.arange(len(kind)) % n
    return number[numbered(groups)]


class MeansOf(NamedTuple):
    """The emotions' means over stories, and the mean over all tokens."""

    means: Float[np.ndarray, "emotion d_model"]
    grand: Float[np.ndarray, " d_model"]


@dataclass(frozen=True, slots=True)
class StorySums:
    """Sums over stories by emotion, writer and part, from which every mean is made: `counts` and
    `sums` of the stories' means, `tokens` and `token_sums` of their tokens.
    """

    counts: Float[np.ndarray, "emotion writer part"]
    sums: Float[np.ndarray, "emotion writer part d_model"]
    tokens: Float[np.ndarray, "writer part"]
    token_sums: Float[np.ndarray, "writer part d_model"]

    def means(
        self,
        *,
        writers: Sequence[int] | None = None,
        parts: Bool[np.ndarray, " part"] | None = None,
    ) -> MeansOf:
        """The means over the stories of these writers and parts (all of them, unless they are
        named). Raises `StatisticsError` where an emotion has no story there.
        """
        who = list(range(self.counts.shape[1])) if writers is None else list(writers)
        of = np.ones(self.counts.shape[2], dtype=bool) if parts is None else parts
        counts = self.counts[:, who][:, :, of].sum(axis=(1, 2))
        if not (counts > 0).all():
            raise StatisticsError(
                f"{int((counts == 0).sum())} emotions have no story by this writer in this half of "
                "the scenarios."
            )
        sums = self.sums[:, who][:, :, of].sum(axis=(1, 2))
        tokens = self.token_sums[who][:, of].sum(axis=(0, 1)) / self.tokens[who][:, of].sum()
        return MeansOf(sums / counts[:, None], tokens)

    def part_means(
        self,
    ) -> tuple[Float[np.ndarray, "part emotion d_model"], Float[np.ndarray, "part emotion"]]:
        """Each part's means by emotion (zero where it has no story), and their stories' number."""
        counts, sums = self.counts.sum(axis=1).T, np.moveaxis(self.sums.sum(axis=1), 1, 0)
        return sums / np.maximum(counts, 1)[..., None], counts


StoryRows = Iterable[tuple[Sequence[int], Float[np.ndarray, "story d_model"]]]
"""The numbers of some stories, and the mean of each over its tokens, block after block."""


def sum_stories(blocks: StoryRows, labels: StoryLabels) -> StorySums:
    """The sums of all blocks. Raises `DataError` for a mean that is not finite."""
    n_emotions, n_writers = len(labels.emotions), len(labels.writers)
    counts = np.zeros((n_emotions, n_writers, STORY_PARTS))
    tokens = np.zeros((n_writers, STORY_PARTS))
    sums = token_sums = np.zeros(0)
    for rows, x in blocks:
        if not np.isfinite(x).all():
            raise DataError("a story's activations are not finite: leave the story out.")
        if not sums.size:
            sums, token_sums = (np.zeros((*one.shape, x.shape[1])) for one in (counts, tokens))
        own = labels.at(rows)
        where = own.emotion, own.writer, own.part
        np.add.at(counts, where, 1.0)
        np.add.at(sums, where, x)
        np.add.at(tokens, where[1:], own.tokens)
        np.add.at(token_sums, where[1:], own.tokens[:, None] * x)
    return StorySums(counts, sums, tokens, token_sums)


class NeutralComponents(NamedTuple):
    """The first principal components of neutral texts (unit rows), and the share of their variance
    that these explain together.
    """

    axes: Float[np.ndarray, "component d_model"]
    explained: float


def neutral_components(
    x: Float[np.ndarray, "text d_model"], *, share: float = NEUTRAL_SHARE
) -> NeutralComponents:
    """The fewest principal components that explain `share` of the variance of neutral texts; none
    where there are fewer than two texts, or no share is asked for.
    """
    if len(x) < 2 or share <= 0:
        return NeutralComponents(np.zeros((0, x.shape[1])), 0.0)
    rows = x.astype(np.float64) - x.mean(axis=0)
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    reached = np.cumsum(sizes**2) / max(float((sizes**2).sum()), 1e-300)
    n = min(int(np.searchsorted(reached, share - 1e-12)) + 1, len(sizes))
    return NeutralComponents(axes[:n], float(reached[n - 1]))


def without_components(
    x: Float[np.ndarray, "*row d_model"], axes: Float[np.ndarray, "component d_model"]
) -> Float[np.ndarray, "*row d_model"]:
    """The rows less their part in these components."""
    return x - (x @ axes.T) @ axes


def story_directions(
    found: MeansOf, axes: Float[np.ndarray, "component d_model"]
) -> Float[np.ndarray, "emotion d_model"]:
    """The emotions' unit directions. Raises `StatisticsError` for one that nothing is left of."""
    apart = without_components(found.means - found.grand, axes)
    lengths = np.linalg.norm(apart, axis=1)
    if not (lengths > 1e-9 * max(float(np.linalg.norm(found.grand)), 1e-300)).all():
        raise StatisticsError(
            "the mean of an emotion's stories is the mean of all: it has no direction here."
        )
    return apart / lengths[:, None]


def cosines_with(
    x: Float[np.ndarray, "text d_model"],
    centre: Float[np.ndarray, " d_model"],
    directions: Float[np.ndarray, "emotion d_model"],
) -> Float[np.ndarray, "text emotion"]:
    """The cosine of each row less `centre` with each unit direction; zero for a row that is the
    centre.
    """
    apart = x - centre
    lengths = np.linalg.norm(apart, axis=1, keepdims=True)
    return (apart @ directions.T) / np.where(lengths > 0, lengths, 1.0)
