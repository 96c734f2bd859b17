"""What stories are measured with: their rows in a run's store, those of held-out scenarios, and the
words of both.
"""

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer

from interp.analysis.baselines import words
from interp.analysis.stories import StoryLabels, StoryRows, label_stories
from interp.analysis.story_space import StorySpace
from interp.capture.plan import IDENTITY
from interp.capture.positions import parse_position
from interp.errors import ArtefactError, DataError, UsageError
from interp.sites import LAST, STREAM, Site
from interp.study.finished import OpenedRun
from stimuli.battery import NEUTRAL, Stimulus, in_content_order

WRITER_COLUMNS = ("writer", "source")
"""The columns that may say who wrote a story; the first that is there counts."""

MOST_NEUTRAL = 2000
"""Neutral texts whose components are taken out; of more, the first by content."""

MOST_WORDS = 4096
"""Words, the most frequent ones, of which the baseline of the words is made."""

_ROWS_AT_ONCE = 2048


class StorySet(NamedTuple):
    """The stories and the neutral texts of a run, and the position that they were read at."""

    opened: OpenedRun
    stories: tuple[Stimulus, ...]
    neutral: tuple[Stimulus, ...]
    labels: StoryLabels
    position: str
    skipped: int


def story_set(opened: OpenedRun, position: str | None) -> StorySet:
    """The stories of a run, all of its texts with an emotion, at `position`: by default the run's
    own `mean_from(k)`.

    Raises `UsageError` where that was not captured, `StatisticsError` as `label_stories`.
    """
    rules = [parse_position(one) for one in opened.store.positions]
    means = [str(rule) for rule in rules if rule.kind == "mean_from"]
    chosen = position or next(iter(means), "")
    if chosen not in means:
        raise UsageError(
            f"stories are read as the mean over their tokens behind the first k: capture them with "
            f"--positions 'mean_from(50)'. This run has {', '.join(opened.store.positions)}."
        )
    there = set(opened.store.items)
    known = [item for item in opened.battery if item.id in there]
    stories = [item for item in known if item.emotion != NEUTRAL]
    neutral = in_content_order(item for item in known if item.emotion == NEUTRAL)[:MOST_NEUTRAL]
    skipped = int(str(parse_position(chosen).argument))
    lengths = opened.store.token_counts()
    labels = label_stories(
        [item.emotion for item in stories],
        [_writer(item) for item in stories],
        [item.group for item in stories],
        [lengths[item.id] - skipped for item in stories],
    )
    return StorySet(opened, tuple(stories), tuple(neutral), labels, chosen, skipped)


def _writer(item: Stimulus) -> str:
    return next((str(item.fields[name]) for name in WRITER_COLUMNS if item.fields.get(name)), "")


class ScenarioSet(NamedTuple):
    """Held-out texts whose emotion is to be told: the run that captured them, the number of each
    one's emotion among those of the stories, and the position that they were read at.
    """

    opened: OpenedRun
    items: tuple[Stimulus, ...]
    own: Int[np.ndarray, " text"]
    position: str

    @property
    def groups(self) -> list[str]:
        """The scenario of each text."""
        return [item.group for item in self.items]


def scenario_set(opened: OpenedRun, told: StorySet, position: str | None) -> ScenarioSet:
    """The texts of a run that evoke one of the stories' emotions, at `position` (the text's last
    token by default).

    Raises `ArtefactError` for another model than the stories', `UsageError` for a position that
    was not captured, `DataError` where no text has an emotion of the stories, or a text is one of
    the stories.
    """
    _same_model(opened, told.opened)
    there, emotions = set(opened.store.items), told.labels.emotions
    known = [i for i in opened.battery if i.id in there and i.emotion != NEUTRAL]
    kept = tuple(item for item in known if item.emotion in emotions)
    if unknown := sorted({item.emotion for item in known} - set(emotions)):
        warnings.warn(
            f"no story tells of {len(unknown)} emotions of the scenarios, which are left out: "
            f"{', '.join(unknown[:8])}{', ...' if unknown[8:] else ''}.",
            stacklevel=2,
        )
    if not kept:
        raise DataError("no scenario evokes an emotion that the stories tell of.")
    texts = {item.text for item in told.stories}
    if twice := [item.id for item in kept if item.text in texts]:
        raise DataError(
            f"{len(twice)} scenarios are stories, too (first: {twice[0]!r}): they are not held out."
        )
    own = np.array([emotions.index(item.emotion) for item in kept])
    return ScenarioSet(opened, kept, own, LAST if position is None else position)


def _same_model(one: OpenedRun, other: OpenedRun) -> None:
    mine, theirs = (dict(side.store.provenance["model"]) for side in (one, other))
    differ = [key for key in IDENTITY if mine.get(key) != theirs.get(key)]
    if differ:
        raise ArtefactError(
            f"the scenarios were read by {mine.get('model')!r} and the stories by "
            f"{theirs.get('model')!r} ({', '.join(differ)} differ): the coordinates of two models "
            "do not correspond."
        )


def site_spaces(told: StorySet, scenarios: ScenarioSet | None) -> Iterator[tuple[Site, StorySpace]]:
    """The stream's sites, from the lowest up, at which both were captured. Raises `UsageError`
    where there is none.
    """
    both = told.opened.store.sites
    if scenarios is not None:
        both = tuple(site for site in both if site in scenarios.opened.store.sites)
    sites = sorted(site for site in both if site.name == STREAM)
    if not sites:
        raise UsageError(f"no site of the stream ({STREAM}) was captured of stories and scenarios.")
    for site in sites:
        held = None
        if scenarios is not None:
            held = _selected(scenarios.opened, site, scenarios.position, scenarios.items)
        neutral = _selected(told.opened, site, told.position, told.neutral)
        yield site, StorySpace(partial(_story_rows, told, site), neutral, held)


def _story_rows(told: StorySet, site: Site) -> StoryRows:
    place = {item.id: row for row, item in enumerate(told.stories)}
    for block in told.opened.store.stream(site, told.position):
        mine = [at for at, item in enumerate(block.items) if item in place]
        if mine:
            rows = [place[block.items[at]] for at in mine]
            yield rows, block.x[mine].astype(np.float64)


def _selected(
    opened: OpenedRun, site: Site, position: str, items: Sequence[Stimulus]
) -> Float[np.ndarray, "text d_model"]:
    wanted = {item.id: row for row, item in enumerate(items)}
    found: np.ndarray | None = None
    for block in opened.store.stream(site, position):
        if found is None:
            found = np.zeros((len(items), block.x.shape[1]))
        mine = [at for at, item in enumerate(block.items) if item in wanted]
        found[[wanted[block.items[at]] for at in mine]] = block.x[mine]
    return np.zeros((0, 1)) if found is None else found


def word_space(told: StorySet, scenarios: ScenarioSet | None) -> StorySpace:
    """The same texts as the words that they hold: tf-idf of the most frequent words of the stories,
    rows of length one.
    """
    counted = TfidfVectorizer(
        tokenizer=words, token_pattern=None, lowercase=False, max_features=MOST_WORDS
    )
    rows = counted.fit_transform([item.text for item in told.stories])

    def blocks() -> StoryRows:
        for first in range(0, rows.shape[0], _ROWS_AT_ONCE):
            part = rows[first : first + _ROWS_AT_ONCE].toarray()
            yield range(first, first + len(part)), part

    def of(items: Sequence[Stimulus]) -> Float[np.ndarray, "text word"]:
        if not items:
            return np.zeros((0, rows.shape[1]))
        found: np.ndarray = counted.transform([item.text for item in items]).toarray()
        return found

    held = None if scenarios is None else of(scenarios.items)
    return StorySpace(blocks, of(told.neutral), held)
