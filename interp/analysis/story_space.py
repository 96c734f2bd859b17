"""Stories in a space (a site of the model, or the words): fitted once, then asked which emotion
other stories and scenarios evoke.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.stories import (
    MeansOf,
    NeutralComponents,
    StoryLabels,
    StoryRows,
    StorySums,
    cosines_with,
    neutral_components,
    story_directions,
    sum_stories,
    without_components,
)

EmotionCosines = Float[np.ndarray, "text emotion"]


class StorySpace(NamedTuple):
    """Where texts have vectors. `stories` gives those of the stories block after block, as often as
    it is asked; `scenarios` are those of held-out texts, None where there are none.
    """

    stories: Callable[[], StoryRows]
    neutral: Float[np.ndarray, "text d_model"]
    scenarios: Float[np.ndarray, "text d_model"] | None


class FittedDirections(NamedTuple):
    """The emotions' unit directions, and the mean that stories are centred on."""

    directions: Float[np.ndarray, "emotion d_model"]
    centre: Float[np.ndarray, " d_model"]


class FittedStories(NamedTuple):
    """The sums of the stories in a space, and what varies most in its neutral texts."""

    sums: StorySums
    neutral: NeutralComponents

    def directions(self, **which: Any) -> FittedDirections:
        """The directions of some of the stories (as `StorySums.means`). Raises `StatisticsError` as
        that does.
        """
        found: MeansOf = self.sums.means(**which)
        return FittedDirections(story_directions(found, self.neutral.axes), found.grand)

    def cleaned(
        self,
    ) -> tuple[Float[np.ndarray, "part emotion d_model"], Float[np.ndarray, "part emotion"]]:
        """Each part's means less the grand mean and the neutral components, and their counts."""
        means, counts = self.sums.part_means()
        apart = without_components(means - self.sums.means().grand, self.neutral.axes)
        return apart * (counts > 0)[..., None], counts


def fit_space(space: StorySpace, labels: StoryLabels, *, share: float) -> FittedStories:
    """The stories' sums, in one pass; `share` of the neutral texts' variance is to be taken out."""
    components = neutral_components(space.neutral, share=share)
    return FittedStories(sum_stories(space.stories(), labels), components)


def score_stories(
    space: StorySpace,
    fits: Sequence[FittedDirections],
    tested: Int[np.ndarray, " text"],
) -> list[EmotionCosines]:
    """The cosines of these stories with each fit's directions, in one pass."""
    found = [np.full((len(tested), len(one.directions)), np.nan) for one in fits]
    place = {story: row for row, story in enumerate(tested.tolist())}
    for rows, x in space.stories():
        mine = [at for at, story in enumerate(rows) if int(story) in place]
        if not mine:
            continue
        at = [place[int(rows[one])] for one in mine]
        for scores, fit in zip(found, fits, strict=True):
            scores[at] = cosines_with(x[mine], fit.centre, fit.directions)
    return found


def score_scenarios(space: StorySpace, fit: FittedDirections) -> EmotionCosines:
    """The cosines of the scenarios, centred on their own mean (which knows no label): they are read
    at another place than stories, where the stream's mean is another one.
    """
    x = np.zeros((0, len(fit.centre))) if space.scenarios is None else space.scenarios
    return cosines_with(x, x.mean(axis=0), fit.directions)
