"""The commands `stories`, directions of many emotions from stories that a run has captured, and
`trajectories`, stories whose emotion changes, read along them.
"""

from pathlib import Path
from typing import Any

import click

from interp.cli.loading import refuse_at_once
from interp.cli.options import GroupedCommand, as_json, options, seed, texts
from interp.cli.printing import records, show_said
from interp.settings import TextOptions

_RATINGS = click.option(
    "--ratings",
    type=click.Path(path_type=Path),
    help="A CSV of people's ratings: emotion,valence,arousal. Else eight words are known.",
)
_WHAT = options(
    click.option(
        "--out", required=True, type=click.Path(path_type=Path), help="A new folder for the result."
    ),
    click.option(
        "--scenarios",
        type=click.Path(path_type=Path),
        help="A run of the same model on other texts, whose emotion is to be told.",
    ),
    _RATINGS,
)
_HOW = options(
    click.option("--position", help="Which mean_from(k) of the run; the first one if not given."),
    click.option(
        "--scenario-position", help="Where scenarios are read; their last token if not given."
    ),
    click.option(
        "--neutral-share",
        type=float,
        default=0.5,
        show_default=True,
        help="The share of the neutral texts' variance whose components are taken out.",
    ),
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@_WHAT
@_HOW
@seed
@as_json
def stories(run: Path, out: Path, scenarios: Path | None, as_json: bool, **how: Any) -> None:
    """Directions of many emotions from the stories of a finished RUN: which of them a text evokes,
    whether it matters who wrote them, and whether they lie as people rate them.

    A story corpus is any file of texts and emotions (--columns names its columns; a column `writer`
    or `source` says who wrote a story; texts of the emotion `neutral` are neutral), captured as the
    mean over a story's tokens behind the first k.

    \b
      interp capture --model smollm2 --stimuli stories.jsonl --out runs/stories \\
        --sites resid_post --positions "mean_from(50)"
      interp stories runs/stories --scenarios runs/scenarios --out runs/emotions
    """
    refuse_at_once(out)
    from interp.reporting.story_sentences import said_of_stories
    from interp.study.stories import STORIES, HowStories, run_stories

    table = run_stories(run, out=out, scenarios=scenarios, how=HowStories(**how))[STORIES]
    said = said_of_stories(table)
    told = table[table["metric"].isin(["auroc", "top1", "top5", "rank"])]
    rows = records(told, "tested_on control half layer metric value ci_low ci_high chance p n")
    few = [one for one in rows if as_json or one["half"] or one["control"]]
    show_said(said, out, as_json=as_json, rows=few)


@click.command(cls=GroupedCommand)
@click.argument("directions", type=click.Path(path_type=Path))
@click.argument("file")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="A new folder for the result."
)
@_RATINGS
@click.option("--model", help="Where the model lies now, if it lies elsewhere.")
@texts
@seed
@as_json
def trajectories(
    directions: Path, file: str, out: Path, reading: TextOptions, as_json: bool, **how: Any
) -> None:
    """Read the stories in FILE, whose emotion changes, token by token along DIRECTIONS, a folder of
    `interp stories`.

    A story has its emotion, `becomes` (the emotion behind the turn) and `turn` (the words at which
    it turns). Beside it: random directions, other emotions, and its words in another order.

    \b
      interp trajectories runs/emotions turning.jsonl --out runs/turning
    """
    refuse_at_once(out)
    from interp.reporting.trajectories import said_of_trajectories
    from interp.study.trajectories import TRAJECTORIES, run_trajectories

    table = run_trajectories(directions, file, out=out, reading=reading, **how)[TRAJECTORIES]
    said = said_of_trajectories(table)
    told = table[table["metric"].isin(["shift", "shift_above", "confusion", "confusion_slope"])]
    rows = records(told, "metric control value ci_low ci_high n")
    show_said(said, out, as_json=as_json, rows=rows)


COMMANDS = (stories, trajectories)
