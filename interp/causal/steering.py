"""Steering: add an emotion's direction to the stream while the model writes, and see which emotion it writes.

What is added is `scale * direction.length * direction.vector`: scale 1 adds the natural length, as
far as held-out twins differ along the direction, at its own site. A direction without such a length
is refused. It is added at the text's last token, where directions are fitted
(`interp.models.texts.ends`), and at every token after it. Activation addition: Turner et al. 2023, Rimsky
et al. 2024. Arms share prompts, seeds and stop rules; the strength is chosen on one half of the
prompts and reported on the other, beside unsteered text and random directions of the same length.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.edits import add
from interp.causal.forward import Encoded, batches, encode_stimuli, open_prompts, run_forward
from interp.causal.generation import acting, write_on
from interp.causal.interventions import Intervention, Where
from interp.causal.pooled import gain_rows
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.causal.words import word_scores
from interp.directions import Direction
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.quantised import warn_of_rounding
from interp.models.texts.conversations import Prompt
from interp.models.texts.ends import LAST
from interp.progress import track
from interp.sites import RESIDUAL_WIDE, site_columns
from interp.stats import mean_interval
from stimuli.battery import Stimulus

STEERING = "steering"
STEERED_AT: Where = ("last", "generated")
"""Where a direction is added unless asked otherwise, in the words of `interp.causal.generation`."""

SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)

HUGE = 20.0
"""A vector longer than this many times the stream itself is warned of: the text is then the vector's, not the model's."""


def steer(
    model: LanguageModel,
    prompts: Sequence[Prompt | Stimulus],
    direction: Direction,
    *,
    scale: float | int | Sequence[float] = 1.0,
    where: Where = STEERED_AT,
    max_new_tokens: int = 20,
    seed: int = 0,
    temperature: float = 0.0,
    allow_foreign: bool = False,
) -> list[str]:
    """The continuation of each prompt (a text, messages, or a stimulus) under `direction`.

    One `scale` for all prompts or one per prompt; 0 gives the unsteered text. `where` is a word
    (`last`, `generated`, `opening`, `prompt`, `all`), a mask with one row per prompt, or a tuple of
    these; the words are those of `interp.causal.generation`, which does the writing.
    Raises `ArtefactError` for a direction of another width, of length zero, or of another model
    (`allow_foreign` lets the last through); `UsageError` for a scale that is not finite, no new
    tokens, a negative temperature, or no prompts. Warns when what is added is more than 20 times as
    long as the stream, and on a quantised model.
    """
    check_direction(model, direction, allow_foreign=allow_foreign)
    if model.quantised:
        warn_of_rounding(model.provenance, "steering")
    strength = _one_a_prompt(scale, len(prompts))
    rows = open_prompts(model, prompts)
    warn_if_huge(model, rows, direction, float(np.abs(strength).max()))
    step = add(direction.step, scale=strength)
    edits = [Intervention(direction.site, step, where)]
    return write_on(
        model,
        rows,
        edits,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
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
    """Rows of `label_logprob`: the readout's score of the target (nats), the direction added from the text's last token on.

    At each scale, with the controls `random` (same length) and `unsteered`. Nothing is generated and nothing judged, so that
    any model will do. Intervals are over groups of stimuli. `label_logprob_gain` is the paired
    difference to the unsteered text, of each emotion and of all together (`pooled.gain_rows`).
    Directions without a held-out length are left out with a warning. Raises as `steer` does, and
    `StatisticsError` when none has one.
    """
    check_scales(scales)
    if model.quantised:
        warn_of_rounding(model.provenance, "steering")
    bound, encoded = readout.bind(model), encode_stimuli(model, stimuli, readout)
    groups = [stimulus.group for stimulus in stimuli]
    rng = np.random.default_rng(seed)
    chunks = batches(encoded)
    prefixes = [Prefix(model, [encoded[i] for i in chunk], [encoded[i].end for i in chunk]) for chunk in chunks]
    rows = []
    usable, arms = with_length(directions), doses(scales)
    columns = [bound.column(emotion) for emotion in usable]
    gains = {arm: np.empty((len(usable), len(stimuli), len(usable))) for arm in arms if arm[0] != "unsteered"}
    about = {"method": STEERING, "half": "", "judge": "readout", "position": acts_at(STEERED_AT)}
    asked = torch.isin(torch.arange(len(bound.emotions)), torch.tensor(columns))
    for at, (emotion, direction) in enumerate(track(list(usable.items()), "dose response", unit="emotion")):
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
            common = {**site_columns(direction.site), **about, "emotion": emotion, "scale": scale, "control": control}
            measured = {"label_logprob": values[:, at]}
            if control == "unsteered":
                unsteered = values
            else:
                gains[control, scale][at] = values - unsteered
                measured["label_logprob_gain"] = values[:, at] - unsteered[:, at]
            rows += [{**common, "metric": name, **mean_interval(one, groups)._asdict()} for name, one in measured.items()]
    site = next(iter(usable.values())).site
    return rows + [{**site_columns(site), **about, **row} for row in gain_rows(gains, groups)]


def check_direction(model: LanguageModel, direction: Direction, *, allow_foreign: bool = False) -> None:
    """Raise `ArtefactError` unless `direction` can be added to this model's stream: its width, length, and origin.

    Its origin is the `digest` of its provenance, or where it has none its `model` and `revision`; one that does not say
    where it is from is foreign. Raises `UsageError` when its site is not in the residual
    stream, or an edit there does not act.
    """
    if direction.site.name not in RESIDUAL_WIDE:
        raise UsageError(f"the direction was fitted at {direction.site}, not in the residual stream: it cannot be added there.")
    made_for, here = _named(direction.provenance), _named(model.provenance)
    width = len(direction.vector)
    if width != model.dims.d_model:
        raise ArtefactError(
            f"the direction is {width} wide, made for {made_for}, and {here} is {model.dims.d_model} wide: fit one on it."
        )
    if direction.length <= 0:
        raise ArtefactError(
            f"the direction at {direction.site} has length {direction.length}, measured on held-out "
            "scenarios: there is no step to steer by. Fit it again, on more scenarios or at another "
            "layer."
        )
    for doubt in direction.provenance.get("warnings", ()):
        warnings.warn(f"steering along a direction in doubt, at {direction.site}: {doubt}", stacklevel=3)
    if not (allow_foreign or _same_origin(direction.provenance, model.provenance)):
        raise ArtefactError(
            f"the direction was made for {made_for} and this is {here}: the coordinates of two models do not correspond, even "
            "at equal width. Fit it on this model, or pass `allow_foreign=True`."
        )
    require(model, "steering", [direction.site])


def with_length(directions: Mapping[str, Direction]) -> dict[str, Direction]:
    """Those directions that have a length, by emotion; a warning names the others, which nothing can be steered along.

    Raises `StatisticsError` when none has.
    """
    left = {emotion: direction for emotion, direction in directions.items() if direction.length > 0}
    none = {emotion: directions[emotion].length for emotion in directions if emotion not in left}
    lost = ", ".join(f"{emotion} ({length:.3g})" for emotion, length in none.items())
    if not left:
        raise StatisticsError(
            f"no direction has a held-out length above zero, so there is no step to steer by: {lost or 'none given'}."
        )
    if lost:
        warnings.warn(f"steering leaves out {lost}: no held-out length above zero, so no step to steer by.", stacklevel=3)
    return left


def warn_if_huge(model: LanguageModel, rows: Sequence[Encoded], direction: Direction, scale: float) -> None:
    """Warn when the largest vector added exceeds 20 times the mean norm of the site at the (first 16) texts' last tokens."""
    rows = rows[:16]
    stream = run_forward(model, rows, read=[direction.site]).at(direction.site, [row.end for row in rows])
    norm = float(stream.float().norm(dim=-1).mean())
    added = scale * direction.length
    if added > HUGE * norm:
        warnings.warn(
            f"steering adds a vector of length {added:.3g} to {direction.site}, {added / norm:.0f} times the stream's own "
            f"{norm:.3g}: the text will be the vector's and not the model's.",
            stacklevel=3,
        )


def acts_at(where: Where) -> str:
    """The position of a table's rows: the first place where a direction is added."""
    words = where if isinstance(where, tuple) else (where,)
    return LAST if "last" in words else str(words[0]) if isinstance(words[0], str) else "mask"


def doses(scales: Sequence[float]) -> list[tuple[str, float]]:
    """The arms of a sweep as (control, scale)."""
    return [("unsteered", 0.0), *(("", float(s)) for s in scales), *(("random", float(s)) for s in scales)]


def check_scales(scales: Sequence[float]) -> None:
    """Raise `UsageError` unless the scales of a sweep are finite and above 0."""
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise UsageError(f"the scales of a sweep are {tuple(scales)}: give finite numbers above 0; 0 is run as `unsteered`.")


def random_like(vectors: Float[np.ndarray, "row d_model"], rng: np.random.Generator) -> Float[np.ndarray, "row d_model"]:
    """Random directions, each as long as its row."""
    noise = rng.standard_normal(vectors.shape)
    return noise * np.linalg.norm(vectors, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)


def _one_a_prompt(scale: float | int | Sequence[float], n: int) -> Float[np.ndarray, " row"]:
    given = np.asarray(scale, dtype=float)
    if not n or given.shape not in ((), (n,)):
        raise UsageError(f"{n} prompts and {given.size} scales: give at least one prompt, and one scale for all or one each.")
    if not np.isfinite(given).all():
        raise UsageError(f"the scale is {scale}: give a finite number; 0 leaves the text as it is.")
    return np.broadcast_to(given, (n,)).copy()


def _same_origin(made_for: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    keys = ("digest",) if made_for.get("digest") else ("model", "revision")
    return made_for.get(keys[0]) is not None and all(made_for.get(key) == here.get(key) for key in keys)


def _named(provenance: Mapping[str, Any]) -> str:
    digest = str(provenance.get("digest") or "unknown")[:12]
    return f"{provenance.get('model')} (revision {provenance.get('revision')}, digest {digest})"
