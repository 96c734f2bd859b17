"""The place of a reading: which directions of a finished run, at which layer, in which model."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.analysis.directions import MEAN_OF_ALL
from interp.analysis.emotion_directions import SATURATED, saturated
from interp.analysis.units import is_calibrated
from interp.capture.plan import IDENTITY
from interp.directions import Direction
from interp.errors import ArtefactError, UsageError
from interp.models import LanguageModel, load
from interp.records import RunRecord, read_record
from interp.results import read_tables
from interp.sites import STREAM, Site
from interp.study.identity import plain
from interp.study.sources import one_of, saved_directions
from stimuli.battery import NEUTRAL

_CHOSEN = f"the first whose directions separate held-out twins within {SATURATED} of the best"

_FORM = "chat_template"
"""Texts may be read in another form than the run's: that is warned of, and not refused."""


_OF_SCENES = (
    "share: 0 is the mean of all scenes that the directions were fitted on, each of them over its "
    "emotions; 1 is as far above it as held-out texts of the emotion lie above their scene's mean. "
    "percentile: among those means, which lie closer together than texts do. probability: none, "
    "since those means are no texts."
)

_EVERY_TOKEN = (
    "The directions were fitted at a text's last token; all other tokens are read with them, too. "
    "A token whose stream is far longer than that of the fitted texts (a sink, often a text's "
    "first token) has no units."
)


class ReadAt(NamedTuple):
    """The directions of a run by emotion, all at `site`; `told` says where they are from and why
    there, `doubts` what is to be said of their units.
    """

    directions: Mapping[str, Direction]
    site: Site
    told: str
    doubts: tuple[str, ...]

    @property
    def zero(self) -> str:
        """What a share of 0 is the mean of: what lies on the directions' low side."""
        other = {one.labels[1] for one in self.directions.values()} - {NEUTRAL}
        if MEAN_OF_ALL in other:
            return "all scenes, each of them over its emotions"
        return f"the texts of {' or '.join(sorted(other))}" if other else "the neutral texts"

    @property
    def units(self) -> str:
        """What the numbers mean."""
        of_twins = (
            f"share: 0 is the mean of {self.zero} that the directions were fitted on, 1 is as far "
            "above it as held-out texts that evoke the emotion lie above their twins. percentile: "
            "among those texts. probability: that a text which lies here evokes the emotion, if as "
            "many do as do not."
        )
        scenes = any(one.labels[1] == MEAN_OF_ALL for one in self.directions.values())
        return f"{_OF_SCENES if scenes else of_twins} {_EVERY_TOKEN}"

    @property
    def vectors(self) -> Float[np.ndarray, "emotion d_model"]:
        """The unit vectors, in the order of the emotions."""
        return np.stack([one.vector for one in self.directions.values()])

    def facts(self) -> dict[str, Any]:
        """The place and the units, for a record."""
        units = {
            emotion: {
                "length": one.length,
                "length_interval": [None if np.isnan(end) else end for end in one.length_interval],
                "neutral_texts": len(one.neutral),
                "method": one.method,
            }
            for emotion, one in self.directions.items()
        }
        return {"site": str(self.site), "place": self.told, "emotions": units}


def open_record(run: Path) -> RunRecord:
    """The record of the run in a folder. Raises `ArtefactError` where there is none."""
    if not (run / "run.json").is_file():
        raise ArtefactError(
            f"{run} holds no run: there is no run.json. Name the folder that `interp run --out` "
            "was given."
        )
    return read_record(run / "run.json")


def find_place(run: Path, *, emotions: Sequence[str] = (), layer: int | None = None) -> ReadAt:
    """The directions of `run` for these emotions (all by default) at `layer`.

    By default it is the layer that the run's own table of directions chooses: the first of the
    stream whose mean separation of held-out twins is within `SATURATED` of the best. Raises
    `ArtefactError` for a run without directions, `UsageError` for an emotion or a layer that it has
    none for.
    """
    every = saved_directions(run)
    layers = sorted({one.site.layer for one in every})
    chosen, why = (layer, "as asked for") if layer is not None else (chosen_layer(run), _CHOSEN)
    if chosen not in layers:
        known = ", ".join(map(str, layers))
        raise UsageError(f"layer {chosen}: the run {run} has directions at the layers {known}.")
    here = {one.labels[0]: one for one in every if one.site.layer == chosen}
    for emotion in emotions:
        one_of(emotion, list(here), where=f"the run {run}")
    kept = {emotion: one for emotion, one in here.items() if not emotions or emotion in emotions}
    site = next(iter(kept.values())).site
    told = f"the run {run}, {site.name} at layer {chosen} ({why})"
    return ReadAt(kept, site, told, tuple(doubts_of(kept)))


def chosen_layer(run: Path) -> int:
    """The layer that the run's table of directions chooses. Raises `ArtefactError` without one."""
    found = read_tables(run, ["directions"])
    if not found:
        raise ArtefactError(
            f"{run} has no table of directions to choose a layer by: make it with `interp "
            "directions`, or name one by --layer."
        )
    rows = found["directions"]
    rows = rows[(rows["metric"] == "separation_auroc") & (rows["site"] == STREAM)]
    means = rows.groupby("layer")["value"].mean()
    return saturated({Site(STREAM, int(str(at))): float(v) for at, v in means.items()})[0].layer


def open_model(
    record: RunRecord, *, model: str | None = None, chat_template: str | None = None, **how: Any
) -> LanguageModel:
    """The model that the run was made with, in its precision and under its chat template, unless
    another place of the same model (`model`) or another template is named.

    Raises as `interp.models.load` and `check_model`, and `UsageError` where the run's template was
    a file, which has to be named again.
    """
    config = record.config
    template = chat_template or config.get(_FORM) or "off"
    if str(template).startswith("sha256 "):
        raise UsageError(
            "the run gave its texts under a chat template of a file: name that file again "
            "(--chat-template FILE), or say on or off."
        )
    loaded = load(
        model or record.model,
        dtype=config.get("dtype", "float32"),
        chat_template=template,
        **how,
    )
    check_model(record, loaded)
    return loaded


def check_model(record: RunRecord, model: LanguageModel) -> None:
    """Raise `ArtefactError` unless `model` is the one that the run was made with; warn where its
    texts are given in another form (chat template).
    """
    known, found = record.provenance.get("model"), plain(model.provenance)
    if known is None:
        raise ArtefactError(f"run {record.run} does not say which model it was made with.")
    other = [key for key in IDENTITY if key in known and known[key] != found.get(key)]
    if wrong := [key for key in other if key != _FORM]:
        raise ArtefactError(
            f"the run was made with {known.get('model')!r}, and {model.name!r} is another model "
            f"({', '.join(wrong)} differ): the coordinates of two models do not correspond. Leave "
            "out --model, or name the run's own."
        )
    if other:
        then, now = ("chat turns" if one.get(_FORM) else "plain texts" for one in (known, found))
        warnings.warn(
            f"the directions were fitted on {then} and these are read as {now}"
            + (" of another template" if then == now else "")
            + ": 0 and 1 of the units are those of the run's own form.",
            stacklevel=3,
        )


def doubts_of(directions: Mapping[str, Direction]) -> list[str]:
    """What is to be said of directions without a length, with a doubtful one, or of older files."""
    groups: dict[str, list[str]] = {}
    for emotion, one in directions.items():
        if not is_calibrated(one):
            why = (
                "no units: an older interp kept no projections of neutral texts. Run `interp "
                "directions` again in a new folder"
            )
        elif not one.length > 0:
            why = "no share, only percentiles: the length on held-out scenarios is not above zero"
        elif not one.length_interval[0] > 0:
            why = "shares in doubt: the length on held-out scenarios may be zero"
        else:
            continue
        groups.setdefault(why, []).append(emotion)
    return [f"{', '.join(names)}: {why}." for why, names in groups.items()]
