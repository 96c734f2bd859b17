"""A trial of framings from names to files: tasks behind calm, threats, encouragement and doses of
stress; what they do to the stream and to the score; a folder with tables, figures and record.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.analysis.doses import dose_rows, level_rows
from interp.analysis.framings import (
    CALM,
    behaviour_rows,
    projection_rows,
    scan_rows,
    shift_rows,
    space_rows,
)
from interp.capture import capture
from interp.causal.steps import check_direction, with_length
from interp.directions import Direction
from interp.errors import UsageError
from interp.evaluation.framed_tasks import (
    FramedTask,
    answer_margins,
    easy_tasks,
    framed,
    framings,
    stress_statements,
)
from interp.evaluation.framed_tokens import read_tokens
from interp.evaluation.readouts import find_testbed
from interp.files import check_new
from interp.models import LanguageModel
from interp.prompting_options import FramingOptions
from interp.results import TableRows
from interp.sentence_options import SentenceOptions
from interp.sites import LAST, STREAM, Site, site_columns
from interp.study.sources import Wanted
from interp.study.trials import Tried, try_out
from stimuli.battery import Battery

FRAMINGS = "framings"
"""The table of the folder."""


def run_framings(asked: SentenceOptions, how: FramingOptions) -> pd.DataFrame:
    """Put framings and doses of stress before tasks, and fill the folder `how.out`; its table.

    Raises `ArtefactError` where the folder holds something, `UsageError` for a testbed, which knows
    none of the words, and for an emotion or layer that is not there; all but the layer before the
    model is loaded.
    """
    check_new(how.out)
    if find_testbed(asked.model) is not None:
        raise UsageError(
            f"{asked.model} is a testbed: it knows neither the framings nor the tasks, so that its "
            "behaviour cannot be measured. Name another model."
        )
    wanted = Wanted(
        model=asked.model,
        run=asked.run,
        stimuli=asked.stimuli,
        arm=asked.arm,
        keep=not asked.no_cache,
    )
    emotions = sorted(how.emotions or wanted.emotions())
    wanted.check(emotions)
    tasks = easy_tasks(how.n_tasks)

    def measure(model: LanguageModel) -> Tried:
        source = wanted.source(model, asked.layer)
        directions = with_length({one: source.directions[one] for one in emotions})
        for one in directions.values():
            check_direction(model, one)
        rows = framing_rows(model, tasks, framings(), directions)
        rows += stress_rows(
            model, tasks, stress_statements(), directions, draws=how.draws, seed=asked.seed
        )
        if how.scan_tokens:
            rows += token_rows(model, tasks, framings(), most=how.scan_tokens)
        return {FRAMINGS: rows}

    return try_out((asked, how), wanted.battery, measure)[FRAMINGS]


def framing_rows(
    model: LanguageModel,
    tasks: Sequence[FramedTask],
    known: Mapping[str, Sequence[str]],
    directions: Mapping[str, Direction],
) -> TableRows:
    """What the framings (wordings with `{task}` by name) do: `shift_rows` of every layer behind the
    tasks' last tokens, `space_rows` and `projection_rows` at the directions' one site, and
    `behaviour_rows`.
    """
    (place,) = {one.site for one in directions.values()}
    sites = [Site(STREAM, layer) for layer in range(model.dims.n_layers)]
    every, parts = _listed(known)
    rows: TableRows = []
    for site, x in _read(model, every, tasks, list(dict.fromkeys([*sites, place]))):
        means = {name: x[part].mean(axis=1) for name, part in parts.items()}
        norm = float(np.sqrt((x[parts[CALM]] ** 2).sum(axis=-1).mean()))
        found = shift_rows(means, stream_norm=norm) if site in sites else []
        if site == place:
            found += space_rows(means, stream_norm=norm)
            found += projection_rows(means, _steps(directions))
        rows += [{**site_columns(site), "position": LAST, **row} for row in found]
    scores = answer_margins(model, every, tasks)
    margins = {name: scores[part] for name, part in parts.items()}
    return rows + behaviour_rows(margins, [task.pair for task in tasks])


def token_rows(
    model: LanguageModel,
    tasks: Sequence[FramedTask],
    known: Mapping[str, Sequence[str]],
    *,
    most: int,
) -> TableRows:
    """`scan_rows` of every layer at places along the framings (`part`, the share of the framing
    that lies before) and at the last tokens of the task (`offset`, 0 is the last), `most` of them.
    """
    sites = [Site(STREAM, layer) for layer in range(model.dims.n_layers)]
    every, parts = _listed(known)
    read = read_tokens(model, every, tasks, sites, most=most)
    n_tokens = read.means.shape[1]
    rows: TableRows = []
    for site, x, square in zip(sites, read.means, read.squares, strict=True):
        for token in range(n_tokens):
            means = {name: x[token, part] for name, part in parts.items()}
            norm = float(np.sqrt(square[token, parts[CALM]].mean()))
            inside = token < read.parts
            place = {
                **site_columns(site),
                "position": "along the framing" if inside else "last tokens",
                "part": (token + 0.5) / read.parts if inside else np.nan,
                "offset": np.nan if inside else token - n_tokens + 1,
            }
            rows += [{**place, **row} for row in scan_rows(means, stream_norm=norm)]
    return rows


def stress_rows(
    model: LanguageModel,
    tasks: Sequence[FramedTask],
    statements: Sequence[tuple[float, str]],
    directions: Mapping[str, Direction],
    *,
    draws: int,
    seed: int,
) -> TableRows:
    """`level_rows` and `dose_rows` of the statements, each with its dose. Readings are less the
    mean one of the lowest dose.
    """
    (place,) = {one.site for one in directions.values()}
    texts = [text for _, text in statements]
    dose = np.array([level for level, _ in statements])
    ((_, x),) = _read(model, texts, tasks, [place])
    mean = x.mean(axis=1)
    more = mean - mean[dose == dose.min()].mean(axis=0)
    readings = {name: more @ step for name, step in _steps(directions).items()}
    margins = answer_margins(model, texts, tasks)
    rows = level_rows(dose, margins, readings)
    rows += dose_rows(dose, margins, readings, draws=draws, seed=seed)
    at = {**site_columns(place), "position": LAST}
    return [{**(at if row["target"] in readings else {}), **row} for row in rows]


def _listed(known: Mapping[str, Sequence[str]]) -> tuple[list[str], dict[str, slice]]:
    """All wordings, and where those of each framing stand among them."""
    every = [text for texts in known.values() for text in texts]
    at = np.cumsum([0, *(len(texts) for texts in known.values())])
    return every, {name: slice(*at[i : i + 2].tolist()) for i, name in enumerate(known)}


def _steps(directions: Mapping[str, Direction]) -> dict[str, Float[np.ndarray, " d_model"]]:
    return {name: one.vector / one.length for name, one in directions.items()}


def _read(
    model: LanguageModel, texts: Sequence[str], tasks: Sequence[FramedTask], sites: Sequence[Site]
) -> Iterator[tuple[Site, Float[np.ndarray, "text task d_model"]]]:
    """The stream at the last token of each task behind each text, site after site."""
    items = [
        framed(text, task, f"{place}-{at}")
        for place, text in enumerate(texts)
        for at, task in enumerate(tasks)
    ]
    ids, shape = [item.id for item in items], (len(texts), len(tasks), model.dims.d_model)
    with capture(model, Battery(FRAMINGS, tuple(items)), sites=sites, positions=(LAST,)) as store:
        for site in sites:
            yield site, store.read(site).select(ids).astype(np.float64).reshape(shape)
