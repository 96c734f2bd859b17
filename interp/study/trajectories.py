"""Stories whose emotion changes: read token by token by the model that the directions are of."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from interp.analysis.circumplex import Ratings
from interp.analysis.trajectories import (
    N_PAIRED,
    TurningStory,
    centred_cosines_of,
    trajectory_rows,
)
from interp.array_files import read_arrays
from interp.capture.positions import TokenisedText, parse_position
from interp.errors import ArtefactError, DataError
from interp.files import check_new
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.options import nearest_told
from interp.records import RunRecord
from interp.settings import TextOptions
from interp.sites import Site
from interp.study.rating_files import read_ratings
from interp.study.reading.place import open_model, open_record
from interp.study.reading.tokens import SINK, project_texts
from interp.study.stories import DIRECTIONS_FILE
from interp.study.trials import fill_folder, heard_once
from stimuli.battery import Battery, Stimulus

TRAJECTORIES = "trajectories"
"""The table."""

BECOMES, TURN = "becomes", "turn"
"""The fields of a story: the emotion behind the turn, and the words at which it turns (as the
position rule `span` takes them)."""


class SavedDirections(NamedTuple):
    """The directions that `interp stories` left in a folder, and that folder's record."""

    directions: Float[np.ndarray, "emotion d_model"]
    centre: Float[np.ndarray, " d_model"]
    emotions: tuple[str, ...]
    site: Site
    record: RunRecord


def run_trajectories(
    folder: Path,
    source: str,
    *,
    out: Path,
    reading: TextOptions | None = None,
    ratings: Path | None = None,
    model: str | None = None,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Read the stories `source` along the directions in `folder`, and fill the folder `out`; its
    table.

    Raises `ArtefactError` for a folder without directions, another model, and where `out` holds
    something; `DataError` naming a story that does not say its turn.
    """
    check_new(out)
    saved, known = open_directions(folder), read_ratings(ratings)
    battery = (reading or TextOptions()).read(source)
    check_turns(battery, saved.emotions)
    start = time.monotonic()
    with heard_once() as heard:
        loaded = open_model(saved.record, model=model)
        rows = _rows(loaded, saved, battery, known, seed=seed)
    place = {"site": saved.site.name, "layer": saved.site.layer, "method": "story_mean"}
    config = {**saved.record.config, "turning_stories": source, "directions": str(folder)}
    provenance = {**saved.record.provenance, "battery": {"sha256": battery.sha256}}
    record = replace(
        saved.record, battery=battery.name, seed=seed, config=config, provenance=provenance,
        warnings=tuple(heard),
    )  # fmt: skip
    tables = {TRAJECTORIES: [{**place, **row} for row in rows]}
    n_layers = loaded.dims.n_layers
    return fill_folder(out, record, tables, n_layers=n_layers, start=start)


def open_directions(folder: Path) -> SavedDirections:
    """The directions in a folder of `interp stories`. Raises `ArtefactError` for another folder."""
    record = open_record(folder)
    arrays, about = read_arrays(folder / DIRECTIONS_FILE)
    try:
        emotions, site = tuple(map(str, about["emotions"])), Site.parse(about["site"])
        return SavedDirections(arrays["directions"], arrays["centre"], emotions, site, record)
    except (KeyError, TypeError) as error:
        raise ArtefactError(
            f"{folder / DIRECTIONS_FILE} does not hold the directions of stories: {error}."
        ) from error


def check_turns(battery: Battery, emotions: Sequence[str]) -> None:
    """Raise `DataError` for the first story that does not say where it turns and into what, or
    speaks of an emotion without a direction.
    """
    for item in battery:
        where = f"story {item.id!r}"
        for name in (BECOMES, TURN):
            if not item.fields.get(name):
                raise DataError(
                    f"{where} has no {name!r}: expected {BECOMES}, the emotion behind the turn, "
                    f"and {TURN}, the words at which it turns. Further fields that it has: "
                    f"{', '.join(item.fields) or 'none'}."
                )
        for emotion in (item.emotion, str(item.fields[BECOMES])):
            if emotion not in emotions:
                told = nearest_told(emotion, emotions)
                raise DataError(f"{where}: there is no direction of {emotion!r}.{told}")
        if item.emotion == item.fields[BECOMES]:
            raise DataError(f"{where} stays {item.emotion!r}: its emotion does not turn.")


def _rows(
    model: LanguageModel,
    saved: SavedDirections,
    battery: Battery,
    ratings: Ratings,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    require(model, "capture", [saved.site])
    random = np.random.default_rng(seed)
    drawn = random.normal(size=(2 * N_PAIRED, len(saved.centre)))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    own = turning_stories(model, saved, list(battery), drawn)
    mixed = [
        shuffled_story(item, one.start, random) for item, one in zip(battery, own, strict=True)
    ]
    shuffled = turning_stories(model, saved, mixed, drawn)
    return list(
        trajectory_rows(
            [one.story for one in own], [one.story for one in shuffled], saved.emotions, ratings
        )
    )


class ReadStory(NamedTuple):
    """A story as it was read, and the character at which it turns."""

    story: TurningStory
    start: int


def turning_stories(
    model: LanguageModel,
    saved: SavedDirections,
    items: Sequence[Stimulus],
    drawn: Float[np.ndarray, "draw d_model"],
) -> list[ReadStory]:
    """The centred cosines of every story's own tokens. Raises `DataError` naming a story whose turn
    is not in its text, and as `LanguageModel.encode`.
    """
    centre = saved.centre / max(float(np.linalg.norm(saved.centre)), 1e-300)
    vectors = np.concatenate([saved.directions, drawn, centre[None]]).astype(np.float32)
    encoded = model.encode([item.text for item in items], ids=[item.id for item in items])
    names = [item.id for item in items]
    found = project_texts(model, saved.site, names, encoded, torch.from_numpy(vectors))
    return [
        _story(item, tokens, x, saved, drawn)
        for item, tokens, x in zip(items, encoded, found, strict=True)
    ]


def _story(
    item: Stimulus,
    tokens: Any,
    x: Float[np.ndarray, "token number"],
    saved: SavedDirections,
    drawn: Float[np.ndarray, "draw d_model"],
) -> ReadStory:
    text = TokenisedText(item.id, item.text, tuple(tokens.ids), tuple(tokens.spans), item.fields)
    first = int(parse_position(f"span({TURN})").select(text)[0])
    own = x[text.content]
    vectors = np.concatenate([saved.directions, drawn])
    norms = own[:, -1]
    cosines = centred_cosines_of(own[:, :-2], norms, own[:, -2], saved.centre, vectors)
    cosines[norms > SINK * float(np.median(norms))] = np.nan
    n = len(saved.emotions)
    story = TurningStory(
        cosines[:, :n],
        cosines[:, n:],
        int(np.searchsorted(text.content, first)),
        saved.emotions.index(item.emotion),
        saved.emotions.index(str(item.fields[BECOMES])),
        item.group,
    )
    return ReadStory(story, tokens.spans[first][0])


def shuffled_story(item: Stimulus, start: int, random: np.random.Generator) -> Stimulus:
    """The same story with its words in another order; it turns at the same number of words."""
    words = item.text.split()
    before = len(item.text[:start].split())
    mixed = [words[at] for at in random.permutation(len(words))]
    at = len(" ".join(mixed[:before])) + (before > 0)
    fields: Mapping[str, Any] = {**item.fields, TURN: [at, at + len(mixed[before])]}
    return replace(item, text=" ".join(mixed), fields=fields)
