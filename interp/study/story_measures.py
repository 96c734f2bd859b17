"""What is measured of stories, space after space: detection by layer, the writers, the circumplex.

The layer is chosen on one half of the scenarios (of the stories, where there are no others) and
told of the other. Beside each number of the model stands that of the words: the same steps on
tf-idf.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from interp.analysis.circumplex import Ratings, circumplex_rows, part_products
from interp.analysis.detection import auroc_mean, detection_rows
from interp.analysis.nested import ABOVE_TEXT
from interp.analysis.predictions import ranks_of
from interp.analysis.stories import STORY_PARTS, deal_scenarios
from interp.analysis.story_space import (
    EmotionCosines,
    FittedStories,
    StorySpace,
    fit_space,
    score_scenarios,
    score_stories,
)
from interp.errors import StatisticsError
from interp.progress import track
from interp.results import TableRow, TableRows
from interp.shares import Share, share_difference
from interp.sites import Site
from interp.stats import mean_interval, numbered
from interp.study.geometry import mapped
from interp.study.story_inputs import ScenarioSet, StorySet, site_spaces, word_space

IN_WORDS = "words"
"""The control: the same steps on the words."""

ALL_WRITERS = "all"

MOST_TESTED = 2000
"""Stories that emotions are detected in, as many of each emotion; the first ones."""

_EVEN = np.arange(STORY_PARTS) % 2 == 0
"""The parts that directions are fitted on which are tested on the stories of the others."""

_METHOD = "story_mean"


class MeasuredSpace(NamedTuple):
    """A space, its rows, what was fitted there, and the scores of the texts that choose a layer."""

    space: StorySpace
    rows: TableRows
    fitted: FittedStories
    scores: EmotionCosines


class ChosenSite(NamedTuple):
    """The site that was chosen, and what was measured there."""

    site: Site
    measured: MeasuredSpace

    @property
    def fitted(self) -> FittedStories:
        """What was fitted there."""
        return self.measured.fitted


class Tested(NamedTuple):
    """Texts whose emotion is detected: what they are called, each one's own emotion and scenario,
    and which of them choose the layer: those of every second scenario.
    """

    name: str
    own: Int[np.ndarray, " text"]
    groups: Sequence[str]
    choosing: Bool[np.ndarray, " text"]

    @classmethod
    def of(cls, name: str, own: Int[np.ndarray, " text"], groups: Sequence[str]) -> "Tested":
        """The texts, their scenarios dealt in two."""
        return cls(name, own, groups, deal_scenarios(own, groups, n=2) == 0)

    def scenarios(self, mine: Bool[np.ndarray, " text"]) -> Int[np.ndarray, " kept"]:
        """The scenarios of some of the texts, as numbers."""
        return numbered([self.groups[at] for at in np.flatnonzero(mine).tolist()])


class Measurement:
    """Stories and scenarios at work."""

    def __init__(
        self,
        told: StorySet,
        held: ScenarioSet | None,
        ratings: Ratings,
        *,
        share: float,
        seed: int = 0,
    ) -> None:
        self._told, self._held, self._ratings = told, held, ratings
        self._share, self._seed = share, seed
        labels = told.labels
        self._rows_tested = tested_rows(labels.emotion, labels.part)
        groups = [told.stories[row].group for row in self._rows_tested]
        self._stories = Tested.of("stories", labels.emotion[self._rows_tested], groups)
        self._scenarios = None if held is None else Tested.of("scenarios", held.own, held.groups)
        self._tell()

    def _tell(self) -> None:
        """Warn of what is left out."""
        emotions, told = self._told.labels.emotions, self._told
        lacking = [one for one in emotions if one not in self._ratings]
        if lacking:
            names = ", ".join(lacking[:8]) + (", ..." if lacking[8:] else "")
            warnings.warn(
                f"{len(lacking)} of {len(emotions)} emotions have no ratings, and are left out "
                f"where the axes are held against them: {names}. --ratings names a file.",
                stacklevel=2,
            )
        if not told.neutral and self._share > 0:
            warnings.warn(
                "the stories have no neutral texts (emotion `neutral`): no component was taken out "
                "of the directions.",
                stacklevel=2,
            )

    def rows(self) -> tuple[TableRows, ChosenSite]:
        """All rows, and what was chosen. Of all layers only the best so far is kept."""
        spaces = list(site_spaces(self._told, self._held))
        depths = mapped([site for site, _ in spaces], self._told.opened.n_layers)
        rows: TableRows = []
        best: ChosenSite | None = None
        most = -np.inf
        for site, space in track(spaces, "stories", unit="layer"):
            place = {"site": site.name, "layer": site.layer, "control": ""}
            found = self._measured(space, place, axes=site in depths)
            rows += found.rows
            if (value := self._choosing_auroc(found.scores)) > most:
                best, most = ChosenSite(site, found), value
        if best is None:
            raise StatisticsError("no layer tells the emotions apart.")
        nowhere = {"site": "", "layer": np.nan, "control": IN_WORDS}
        words = self._measured(word_space(self._told, self._held), nowhere, axes=True)
        rows += words.rows
        place = {"site": best.site.name, "layer": best.site.layer, "control": ""}
        chosen = best.measured
        rows += [{**place, **row} for row in self._reported(chosen.scores, words.scores)]
        rows += [{**place, **row} for row in self._by_writer(chosen)]
        rows += [{**nowhere, **row} for row in self._by_writer(words)]
        return [{"method": _METHOD, "half": "", **row} for row in rows], best

    @property
    def _choosers(self) -> Tested:
        return self._stories if self._scenarios is None else self._scenarios

    def _measured(
        self, space: StorySpace, place: Mapping[str, Any], *, axes: bool
    ) -> MeasuredSpace:
        """What one space tells."""
        fitted = fit_space(space, self._told.labels, share=self._share)
        neutral = {"value": fitted.neutral.explained, "n": len(space.neutral)}
        rows: TableRows = [
            {"metric": "neutral_explained", "k": len(fitted.neutral.axes), **neutral}
        ]
        (scores,) = score_stories(space, [fitted.directions(parts=_EVEN)], self._rows_tested)
        rows += self._detected(scores, self._stories)
        if self._scenarios is not None:
            scores = score_scenarios(space, fitted.directions())
            rows += self._detected(scores, self._scenarios)
        if axes:
            parts = part_products(self._told.labels.emotions, *fitted.cleaned())
            try:
                rows += circumplex_rows(parts, self._ratings, seed=self._seed)
            except StatisticsError as error:
                warnings.warn(f"{place['site'] or IN_WORDS}: no axes: {error}", stacklevel=3)
        return MeasuredSpace(space, [{**place, **row} for row in rows], fitted, scores)

    def _detected(self, scores: EmotionCosines, texts: Tested) -> Iterator[TableRow]:
        told = {"tested_on": texts.name}
        for row in detection_rows(scores, texts.own, texts.groups, seed=self._seed):
            yield {**row, **told}
        ranks, n = ranks_of(scores, texts.own), scores.shape[1]
        for one in np.unique(texts.own).tolist():
            mine = texts.own == one
            share = mean_interval((n - ranks[mine]) / (n - 1), texts.scenarios(mine))._asdict()
            emotion = self._told.labels.emotions[one]
            yield {"metric": "outranked", "emotion": emotion, **share, **told}

    def _choosing_auroc(self, scores: EmotionCosines) -> float:
        mine = self._choosers.choosing
        groups = self._choosers.scenarios(mine)
        return self._auroc(scores, mine).without_each(groups).value

    def _auroc(self, scores: EmotionCosines, mine: Bool[np.ndarray, " text"]) -> Share:
        truth = self._choosers.own[mine][:, None] == np.arange(scores.shape[1])
        return auroc_mean(scores[mine], truth, self._choosers.scenarios(mine))

    def _reported(self, scores: EmotionCosines, in_words: EmotionCosines) -> Iterator[TableRow]:
        """Detection at the chosen layer, by the texts that did not choose it; and how far above the
        words it lies, paired.
        """
        texts, rest = self._choosers, ~self._choosers.choosing
        told = {"half": "report", "tested_on": texts.name}
        own, groups = texts.own[rest], texts.scenarios(rest)
        for row in detection_rows(scores[rest], own, groups, seed=self._seed):
            yield {**row, **told}
        pair = self._auroc(scores, rest), self._auroc(in_words, rest)
        above = share_difference(*pair, groups)
        yield {"metric": ABOVE_TEXT, "target": IN_WORDS, **above._asdict(), **told}

    def _by_writer(self, at: MeasuredSpace) -> Iterator[TableRow]:
        """Directions of one writer's stories (of half of the scenarios) tried on another's (of the
        other half). A writer who lacks an emotion there is left out, with a warning.
        """
        labels, fits = self._told.labels, {}
        if len(labels.writers) < 2:
            return
        for number, name in enumerate(labels.writers):
            try:
                fits[name] = at.fitted.directions(writers=[number], parts=_EVEN)
            except StatisticsError as error:
                warnings.warn(f"writer {name!r} was left out: {error}", stacklevel=4)
        fits[ALL_WRITERS] = at.fitted.directions(parts=_EVEN)
        found = score_stories(at.space, list(fits.values()), self._rows_tested)
        scores = dict(zip(fits, found, strict=True))
        by = labels.writer[self._rows_tested]
        for one, told in scores.items():
            for number, other in enumerate(labels.writers):
                mine = by == number
                if len(np.unique(self._stories.own[mine])) < 2:
                    continue
                own, groups = self._stories.own[mine], self._stories.scenarios(mine)
                for row in detection_rows(told[mine], own, groups, seed=self._seed):
                    pair = {"fitted_on": one, "tested_on": other}
                    yield {**row, **pair, "metric": f"writer_{row['metric']}"}


def tested_rows(
    emotion: Int[np.ndarray, " story"], part: Int[np.ndarray, " story"]
) -> Int[np.ndarray, " tested"]:
    """The stories of the parts that are not fitted on: the first of each emotion, up to
    `MOST_TESTED` in all. Raises `StatisticsError` where an emotion has none.
    """
    each = max(1, MOST_TESTED // (int(emotion.max()) + 1))
    kept = []
    for one in range(int(emotion.max()) + 1):
        mine = np.flatnonzero((emotion == one) & ~_EVEN[part])[:each]
        if not len(mine):
            raise StatisticsError("an emotion has no story in one half of the scenarios.")
        kept.append(mine)
    return np.sort(np.concatenate(kept))
