"""Many emotions from stories, from runs to a folder: directions, how well they detect, the writers,
and the circumplex.
"""

import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from threadpoolctl import threadpool_limits

from interp.analysis.stories import NEUTRAL_SHARE
from interp.array_files import write_arrays
from interp.errors import UsageError
from interp.files import check_new, make_folder
from interp.study.finished import open_run, record_beside
from interp.study.rating_files import read_ratings
from interp.study.story_inputs import StorySet, scenario_set, story_set
from interp.study.story_measures import ChosenSite, Measurement
from interp.study.trials import fill_folder, heard_once

STORIES = "stories"
"""The table."""

DIRECTIONS_FILE = "story_directions.safetensors"
"""The directions of all emotions at the layer that was chosen, and their centre."""


class HowStories(NamedTuple):
    """How stories are measured: `position` and `scenario_position` (None: the run's own), the
    share of the neutral texts' variance that is taken out, a file of ratings, and the seed.
    """

    position: str | None = None
    scenario_position: str | None = None
    neutral_share: float = NEUTRAL_SHARE
    ratings: Path | None = None
    seed: int = 0


def run_stories(
    run: Path, *, out: Path, scenarios: Path | None = None, how: HowStories | None = None
) -> dict[str, pd.DataFrame]:
    """Measure the stories that `run` captured, and fill the folder `out`; its table.

    Without `scenarios` (a run of the same model on other texts) emotions are detected in stories of
    scenarios that were not fitted on. Raises as `open_run`, `story_set`, `scenario_set` and
    `read_ratings`, and `ArtefactError` where `out` holds something.
    """
    check_new(out)
    how = how or HowStories()
    if not 0 <= how.neutral_share < 1:
        raise UsageError(f"--neutral-share is {how.neutral_share}: expected 0 or more, below 1.")
    ratings, start = read_ratings(how.ratings), time.monotonic()
    with heard_once() as heard, threadpool_limits(1):
        stories = story_set(open_run(run), how.position)
        held = None
        if scenarios is not None:
            held = scenario_set(open_run(scenarios), stories, how.scenario_position)
        rows, chosen = Measurement(
            stories, held, ratings, share=how.neutral_share, seed=how.seed
        ).rows()
    config = {
        "stories": str(run), "scenarios": None if scenarios is None else str(scenarios),
        **{name: None if one is None else str(one) for name, one in how._asdict().items()},
    }  # fmt: skip
    record = record_beside(stories.opened, config, seed=how.seed, heard=heard)
    _keep_directions(make_folder(out) / DIRECTIONS_FILE, stories, chosen, of_run=record.run)
    n_layers = stories.opened.n_layers
    return fill_folder(out, record, {STORIES: rows}, n_layers=n_layers, start=start)


def _keep_directions(path: Path, told: StorySet, chosen: ChosenSite, *, of_run: str) -> None:
    """Write the directions at the chosen site, one row for each emotion, and their centre."""
    fit = chosen.fitted.directions()
    about = {
        "kind": "story directions", "site": str(chosen.site), "position": told.position,
        "emotions": list(told.labels.emotions), "run": of_run,
        "model": dict(told.opened.store.provenance["model"]),
        "neutral_components": len(chosen.fitted.neutral.axes),
    }  # fmt: skip
    write_arrays(path, {"directions": fit.directions, "centre": fit.centre}, about)
