"""Steering: add an emotion's direction to the stream while the model writes, and see which emotion
it writes.

What is added is a step along the direction (`interp.causal.steps`), by default `scale *
direction.length * direction.vector`: scale 1 adds the natural length, as far as held-out twins
differ along the direction, at its own site. A direction without such a length is refused. It is
added at the text's last token, where directions are fitted (`interp.models.texts.ends`), and at
every token after it. Activation addition: Turner et al. 2023, Rimsky et al. 2024. Arms share
prompts, seeds and stop rules; the strength is chosen on one half of the prompts and reported on the
other, beside unsteered text and random directions of the same length.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.edits import add
from interp.causal.forward import batches, encode_stimuli, listed, open_prompts
from interp.causal.generation import acting, write_on
from interp.causal.interventions import Intervention, Where
from interp.causal.pooled import gain_rows
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.causal.steerability import PER_PROMPT, steerability_rows
from interp.causal.steered_texts import STEERING, acts_at
from interp.causal.steps import (
    Strength,
    Weighted,
    check_direction,
    pushes,
    random_like,
    with_length,
)
from interp.causal.words import word_scores
from interp.directions import Direction
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.models.quantised import warn_of_rounding
from interp.models.texts.conversations import Prompt
from interp.progress import track
from interp.sites import site_columns
from interp.stats import Labels, mean_interval
from stimuli.battery import Stimulus

STEERED_AT: Where = ("last", "generated")
"""Where a direction is added unless asked otherwise, in the words of `interp.causal.generation`."""

SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)


def steer(
    model: LanguageModel,
    prompts: Prompt | Stimulus | Sequence[Prompt | Stimulus],
    direction: Direction | Sequence[Weighted],
    *,
    scale: float | int | Sequence[float] = 1.0,
    unit: str = "length",
    where: Where = STEERED_AT,
    max_new_tokens: int = 20,
    seed: int = 0,
    temperature: float = 0.0,
    allow_foreign: bool = False,
) -> list[str]:
    """The continuation of each prompt (a text, messages, or a stimulus) under `direction`. One
    prompt given alone is a list of one.

    Several directions with weights are a mixture: their steps add up. One `scale` for all prompts
    or one per prompt, in units of the natural `length`, of the `stream`'s norm, or of the usual
    `dose` (`interp.causal.steps.UNITS`); 0 gives the unsteered text. `where` is a word (`last`,
    `generated`, `opening`, `prompt`, `all`), a mask with one row per prompt, or a tuple of these;
    the words are those of `interp.causal.generation`, which does the writing.
    Raises `ArtefactError` for a direction of another width, of length zero, or of another model
    (`allow_foreign` lets the last through); `UsageError` for a scale that is not finite, an unknown
    unit, no new tokens, a negative temperature, or no prompts; `DataError` for a blank prompt.
    Warns when what is added is more than 20 times as long as the stream, of words that the
    vocabulary lacks, and on a quantised model.
    """
    prompts = listed(prompts)
    mixture = [(direction, 1.0)] if isinstance(direction, Direction) else list(direction)
    if not prompts or not mixture:
        raise UsageError(
            f"{len(prompts)} prompts and {len(mixture)} directions: give at least one of each."
        )
    if model.quantised:
        warn_of_rounding(model.provenance, "steering")
    rows = open_prompts(model, prompts)
    edits = pushes(
        model,
        rows,
        mixture,
        Strength(scale, unit),
        where=where,
        allow_foreign=allow_foreign,
    )
    return write_on(
        model,
        rows,
        edits,
        Decoding(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed),
    )


def dose_response(
    model: LanguageModel,
    stimuli: Sequence[Stimulus],
    directions: Mapping[str, Direction],
    readout: Readout,
    *,
    scales: Sequence[float] = SCALES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of `label_logprob`: the readout's score of the target (nats), the direction added from
    the text's last token on.

    At each scale, with the controls `random` (same length) and `unsteered`. Nothing is generated
    and nothing judged, so that any model will do. Intervals are over groups of stimuli.
    `label_logprob_gain` is the paired difference to the unsteered text, of each emotion and of all
    together (`pooled.gain_rows`). The slope of each text's gain against the scale, and the share of
    texts that it is below zero in, are those of `steerability.steerability_rows`. Directions
    without a held-out length are left out with a warning. Raises as `steer` does, and
    `StatisticsError` when none has one.
    """
    check_scales(scales)
    if model.quantised:
        warn_of_rounding(model.provenance, "steering")
    bound, encoded = readout.bind(model), encode_stimuli(model, stimuli, readout)
    groups = [stimulus.group for stimulus in stimuli]
    rng = np.random.default_rng(seed)
    chunks = batches(encoded)
    prefixes = [
        Prefix(model, [encoded[i] for i in chunk], [encoded[i].end for i in chunk])
        for chunk in chunks
    ]
    rows = []
    usable, arms = with_length(directions), doses(scales)
    columns = [bound.column(emotion) for emotion in usable]
    gains = {
        arm: np.empty((len(usable), len(stimuli), len(usable)))
        for arm in arms
        if arm[0] != "unsteered"
    }
    about = {"method": STEERING, "half": "", "judge": "readout", "position": acts_at(STEERED_AT)}
    asked = torch.isin(torch.arange(len(bound.emotions)), torch.tensor(columns))
    for at, (emotion, direction) in enumerate(
        track(list(usable.items()), "dose response", unit="emotion")
    ):
        check_direction(model, direction)
        own = np.tile(direction.step, (len(stimuli), 1))
        unsteered = np.empty((len(stimuli), len(usable)))
        for control, scale in arms:
            vectors = random_like(own, rng) if control == "random" else own
            values = np.empty_like(unsteered)
            for chunk, prefix in zip(chunks, prefixes, strict=True):
                step = add(vectors[chunk], scale=scale)
                edit = Intervention(direction.site, step, acting(STEERED_AT, prefix.texts))
                found = prefix.run([edit], further=not bound.whole)
                wanted = asked.expand(len(chunk), -1)
                values[chunk] = word_scores(found, bound, wanted=wanted)[:, columns].cpu().numpy()
            common = {
                **site_columns(direction.site),
                **about,
                "emotion": emotion,
                "scale": scale,
                "control": control,
            }
            measured = {"label_logprob": values[:, at]}
            if control == "unsteered":
                unsteered = values
            else:
                gains[control, scale][at] = values - unsteered
                measured["label_logprob_gain"] = values[:, at] - unsteered[:, at]
            rows += [
                {**common, "metric": name, **mean_interval(one, groups)._asdict()}
                for name, one in measured.items()
            ]
    pooled = gain_rows(gains, groups)
    for control in ("", "random"):
        scores = {
            emotion: np.stack([gains[control, float(scale)][at][:, at] for scale in scales])
            for at, emotion in enumerate(usable)
        }
        items = [stimulus.id for stimulus in stimuli]
        pooled += _slopes(scores, list(scales), groups, items, control=control)
    site = next(iter(usable.values())).site
    return rows + [{**site_columns(site), **about, **row} for row in pooled]


def _slopes(
    gains: Mapping[str, Float[np.ndarray, "strength prompt"]],
    scales: Sequence[float],
    groups: Labels,
    items: Sequence[str],
    *,
    control: str,
) -> list[dict[str, Any]]:
    """Rows of steerability from the gains at each scale; at 0 nothing is gained."""
    scores = {
        emotion: np.vstack([np.zeros((1, found.shape[1])), found])
        for emotion, found in gains.items()
    }
    rows = steerability_rows(scores, [0.0, *scales], groups, items)
    return [
        {**row, "control": control} for row in rows if not control or row["metric"] != PER_PROMPT
    ]


def doses(scales: Sequence[float]) -> list[tuple[str, float]]:
    """The arms of a sweep as (control, scale)."""
    return [
        ("unsteered", 0.0),
        *(("", float(s)) for s in scales),
        *(("random", float(s)) for s in scales),
    ]


def check_scales(scales: Sequence[float]) -> None:
    """Raise `UsageError` unless the scales of a sweep are finite and above 0."""
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise UsageError(
            f"the scales of a sweep are {tuple(scales)}: give finite numbers above 0; 0 is run "
            "as `unsteered`."
        )
