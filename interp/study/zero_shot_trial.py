"""The model's own label words beside a probe, from names to files: the texts of a battery, the
probe's place, the words, and a folder with table, figure and record.
"""

import warnings
from collections.abc import Sequence

import pandas as pd
from threadpoolctl import threadpool_limits

from interp.analysis.baselines import predict_texts
from interp.analysis.emotion_directions import usual_layer
from interp.analysis.folds import Folds, grouped_folds
from interp.analysis.probes import cross_validate
from interp.analysis.questions import lexicons
from interp.analysis.zero_shot import BY_WORDS, asked_predictions, zero_shot_rows
from interp.capture import capture
from interp.errors import StatisticsError, UsageError
from interp.evaluation.forced_choice import NEUTRAL_PROMPTS, asked_by_words
from interp.evaluation.readouts import find_testbed, readout_for
from interp.files import check_new
from interp.models import LanguageModel
from interp.prompting_options import ZeroShotOptions
from interp.results import TableRows
from interp.sites import LAST, STREAM, Site, site_columns
from interp.stats import numbered
from interp.study.conditions import unreadable
from interp.study.sources import Wanted, one_of, texts_of_arm
from interp.study.trials import Tried, try_out
from stimuli.battery import NEUTRAL, Battery, Stimulus, in_content_order

ZERO_SHOT = "zero_shot"
"""The table of the folder."""

CALIBRATED_BY = 64
"""Neutral texts of the battery by which the words are calibrated, at most."""

CONTENT_FREE, BARE = "zero_shot_content_free", "zero_shot_uncalibrated"
"""The other ways to calibrate; the first is that of the judge `forced_choice`."""


def run_zero_shot(asked: ZeroShotOptions) -> pd.DataFrame:
    """Score the label words, the probe and the text baselines on the same texts, and fill the
    folder `asked.out`; its table.

    Raises `ArtefactError` where the folder holds something, `UsageError` for an emotion, arm or
    layer that is not there, `StatisticsError` for too few scenarios or emotions with words; all but
    the layer before the model is loaded.
    """
    check_new(asked.out)
    battery = Wanted(model=asked.model, stimuli=asked.stimuli).battery
    items = _texts_to_tell(battery, asked)
    labels, scenarios = [item.emotion for item in items], [item.group for item in items]
    neutral = _neutral_of(battery)
    folds = grouped_folds(labels, numbered(scenarios), n_splits=asked.folds, seed=asked.seed)

    def measure(model: LanguageModel) -> Tried:
        site = _place(model, asked.probe_layer)
        rows = zero_shot(model, items, folds, site=site, neutral=neutral)
        return {ZERO_SHOT: rows}

    return try_out((asked,), battery, measure)[ZERO_SHOT]


def zero_shot(
    model: LanguageModel,
    items: Sequence[Stimulus],
    folds: Folds,
    *,
    site: Site,
    neutral: Sequence[Stimulus],
) -> TableRows:
    """`zero_shot_rows` of the items, which are all of some emotion: the probe reads their last
    tokens at `site`, and what the words say is calibrated by `neutral` texts. A testbed's language
    has no texts without content.

    Raises `StatisticsError` where the vocabulary lacks the words of an emotion: it could not be
    chosen, and its texts would be wrong by that alone.
    """
    labels = [item.emotion for item in items]
    texts: dict[str, Sequence[Stimulus] | Sequence[str]] = {BY_WORDS: neutral}
    if find_testbed(model) is None:
        texts[CONTENT_FREE] = NEUTRAL_PROMPTS
    said = asked_by_words(model, readout_for(model, sorted(set(labels))), items, texts)
    if lost := sorted(set(labels) - set(said.emotions)):
        left = ",".join(said.emotions)
        raise StatisticsError(
            f"the vocabulary of {model.name} has no word for {', '.join(lost)}: ask of the others "
            f"(--emotions {left})."
        )
    with capture(model, Battery("asked", tuple(items)), sites=[site], positions=(LAST,)) as store:
        x = store.read(site).select(item.id for item in items)
    scenarios = numbered([item.group for item in items])
    with threadpool_limits(1):  # the fits are small: a second thread waits more than it works
        probe = cross_validate(x, labels, scenarios, folds=folds)
        words = predict_texts(
            [item.text for item in items], labels, scenarios, folds=folds, lexicons=lexicons()
        )
    scores = {**{name: said.gains(name) for name in texts}, BARE: said.scores}
    asked = {name: asked_predictions(one, said.emotions, probe) for name, one in scores.items()}
    for warning in probe.warnings:
        warnings.warn(f"probe: {warning}", stacklevel=2)
    place = {**site_columns(site), "position": LAST}
    return [
        {**(place if row["method"] == "probe" else {}), **row}
        for row in zero_shot_rows(probe, asked, words)
    ]


def _texts_to_tell(battery: Battery, asked: ZeroShotOptions) -> list[Stimulus]:
    """The texts of the arm, of the emotions that are asked for and have words."""
    items = texts_of_arm(battery, asked.texts_arm)
    known = sorted({item.emotion for item in items})
    for emotion in asked.emotions:
        one_of(emotion, known, where=f"battery {battery.name!r}, arm {asked.texts_arm},")
    emotions = list(asked.emotions) or known
    lost = unreadable(asked.model, emotions)
    kept = [emotion for emotion in emotions if emotion not in lost]
    if len(kept) < 2:
        told = " ".join(f"{emotion}: {why}" for emotion, why in lost.items())
        raise StatisticsError(
            f"{len(kept)} emotion to choose among ({', '.join(kept) or 'none'}); need >= 2. {told}"
        )
    if lost:
        warnings.warn(
            f"left out, since the model cannot be asked for them by words: {', '.join(lost)}.",
            stacklevel=3,
        )
    return [item for item in items if item.emotion in kept]


def _neutral_of(battery: Battery) -> list[Stimulus]:
    """The texts by which the words are calibrated. Raises `StatisticsError` for none."""
    found = in_content_order(item for item in battery if item.emotion == NEUTRAL)
    if not found:
        raise StatisticsError(
            f"battery {battery.name!r} has no neutral text, by which label words are calibrated: "
            "add some, or name another battery (--stimuli)."
        )
    return found[:CALIBRATED_BY]


def _place(model: LanguageModel, layer: int | None) -> Site:
    n_layers = model.dims.n_layers
    if layer is not None and not 0 <= layer < n_layers:
        raise UsageError(
            f"layer {layer} is out of range: {model.name} has layers 0..{n_layers - 1}."
        )
    return Site(STREAM, usual_layer(n_layers) if layer is None else layer)
