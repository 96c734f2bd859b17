"""Steering: add an emotion's direction to the stream while the model writes, and see which emotion it writes.

What is added is `scale * direction.scale * direction.vector`: scale 1 adds the natural paired mean difference, as large as what
the twins' texts differ by, at the direction's own site. It is added at the prompt's last token and at every token generated
after it. Activation addition: Turner et al. 2023, Rimsky et al. 2024. Arms share prompts, seeds and stop rules; the strength is
chosen on one half of the prompts and reported on the other, beside unsteered text and random directions of the same length.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from interp.causal.attribution import DirectionLike
from interp.causal.edits import add
from interp.causal.intervals import bootstrap_weights, mean_interval, place, wilson
from interp.causal.interventions import Intervention, Where, applied
from interp.causal.passes import Encoded, batches, encode, run
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import RESIDUAL_WIDE, Site
from stimuli.battery import Stimulus

METHOD = "steering"
WHERE: Where = ("last", "generated")
SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)
ROWS_AT_ONCE = 256

HUGE = 20.0
"""A vector longer than this many times the stream itself is warned of: the text is then the vector's, not the model's."""

Judge = Callable[[list[str]], list[str | None]]
"""Continuations in, one emotion each out; None for one that it cannot judge (no sentence, no emotion)."""


def steer(
    model: LanguageModel,
    prompts: Sequence[str],
    direction: DirectionLike,
    *,
    scale: float | Sequence[float] = 1.0,
    where: Where = WHERE,
    max_new_tokens: int = 20,
    seed: int = 0,
    temperature: float = 0.0,
    allow_foreign: bool = False,
) -> list[str]:
    """The continuation of each prompt under `direction`; one `scale` for all or one a prompt, 0 gives the unsteered text.

    Raises `ArtefactError` for a direction of another width, of length zero, or of another model (`allow_foreign` lets the last
    through); `UsageError` for a scale that is not finite, no new tokens, a negative temperature, or no prompts. Warns when what
    is added is more than 20 times as long as the stream.
    """
    check_direction(model, direction, allow_foreign=allow_foreign)
    strength = _one_a_prompt(scale, len(prompts))
    tokens = model.tokenize(list(prompts))
    warn_if_huge(model, tokens, direction, float(np.abs(strength).max()))
    added = np.tile(np.asarray(direction.vector) * direction.scale, (len(prompts), 1))
    decoding = {"max_new_tokens": max_new_tokens, "seed": seed, "temperature": temperature}
    return _write(model, tokens, direction.site, added, strength, where=where, decoding=decoding)


def sweep(
    model: LanguageModel,
    prompts: Sequence[str],
    directions: Mapping[str, DirectionLike],
    judge: Judge,
    *,
    scales: Sequence[float] = SCALES,
    max_new_tokens: int = 20,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of greedily steering all prompts towards all emotions: `success` (judged as the target), `valid` (judged at all).

    Half `choose` has all scales. The one scale with the best mean success over emotions there (the smallest of equals) is run
    on half `report`, which has rows for it alone. Controls on both: `unsteered` (scale 0), and `random` (for each prompt and
    scale a random vector of its own, as long as what it stands in for). Intervals are Wilson's.
    Raises `UsageError` for scales that are not finite and positive, `StatisticsError` for fewer than two prompts.
    """
    _check_scales(scales)
    if len(prompts) < 2 or not directions:
        raise StatisticsError(
            "a sweep chooses on half of the prompts and reports on the rest: give two prompts and a direction."
        )
    order = np.random.default_rng(seed).permutation(len(prompts))
    choose, report = (model.tokenize([prompts[i] for i in order[half::2]]) for half in (0, 1))
    for direction in directions.values():
        check_direction(model, direction)
        warn_if_huge(model, choose, direction, max(scales))
    rows = list(_judged(model, choose, directions, judge, scales=scales, max_new_tokens=max_new_tokens, seed=seed))
    chosen = [{**row, "half": "choose"} for row in rows]
    best = [choose_scale(chosen)]
    rows = list(_judged(model, report, directions, judge, scales=best, max_new_tokens=max_new_tokens, seed=seed + 1))
    return chosen + [{**row, "half": "report"} for row in rows]


def choose_scale(rows: Sequence[Mapping[str, Any]]) -> float:
    """The scale with the highest mean success over emotions on half `choose`; of equals the smallest."""
    steered = [row for row in rows if row["half"] == "choose" and row["control"] == "" and row["metric"] == "success"]
    means = {s: np.mean([row["value"] for row in steered if row["scale"] == s]) for s in {row["scale"] for row in steered}}
    return float(max(sorted(means), key=lambda scale: means[scale]))


def dose_response(
    model: LanguageModel,
    stimuli: Sequence[Stimulus],
    directions: Mapping[str, DirectionLike],
    readout: Readout,
    *,
    scales: Sequence[float] = SCALES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of `label_logprob`: the readout's score of the target (nats), the direction added from the text's last token on.

    At each scale, with the controls `random` (same length) and `unsteered`. Nothing is generated and nothing judged, so that
    any model will do. Intervals are bootstrapped over groups of stimuli. Raises as `steer` does.
    """
    _check_scales(scales)
    bound, encoded = readout.bind(model), encode(model, stimuli, readout)
    weights = bootstrap_weights([stimulus.group for stimulus in stimuli], seed=seed)
    rng = np.random.default_rng(seed)
    chunks = batches(encoded)
    prefixes = [Prefix(model, [encoded[i] for i in chunk], [encoded[i].end for i in chunk]) for chunk in chunks]
    rows = []
    for emotion, direction in track(list(directions.items()), "dose response", unit="emotion"):
        check_direction(model, direction)
        column = bound.column(emotion)
        own = np.tile(np.asarray(direction.vector) * direction.scale, (len(stimuli), 1))
        for control, scale in _doses(scales):
            vectors = _random_like(own, rng) if control == "random" else own
            values = np.empty(len(stimuli))
            for chunk, prefix in zip(chunks, prefixes, strict=True):
                edit = Intervention(direction.site, add(vectors[chunk], scale=scale), _from_end(prefix.texts))
                values[chunk] = bound.scores(prefix.run([edit]).logits)[:, column].cpu().numpy()
            common = {**place(direction.site), "method": METHOD, "metric": "label_logprob", "emotion": emotion, "scale": scale}
            rows.append(
                {**common, **mean_interval(values, weights)._asdict(), "control": control, "half": "", "judge": "readout"}
            )
    return rows


def check_direction(model: LanguageModel, direction: DirectionLike, *, allow_foreign: bool = False) -> None:
    """Raise `ArtefactError` unless `direction` can be added to this model's stream: its width, length, and origin.

    Its origin is the `digest` of its provenance, or where it has none its `model` and `revision`; one that does not say
    where it is from is foreign. Raises `UsageError` when its site is not in the residual stream.
    """
    if direction.site.name not in RESIDUAL_WIDE:
        raise UsageError(f"the direction was fitted at {direction.site}, not in the residual stream: it cannot be added there.")
    made_for, here = _named(direction.provenance), _named(model.provenance)
    width = len(direction.vector)
    if width != model.dims.d_model:
        raise ArtefactError(
            f"the direction is {width} wide, made for {made_for}, and {here} is {model.dims.d_model} wide: fit one on it."
        )
    length = float(np.linalg.norm(direction.vector)) * direction.scale
    if not (math.isfinite(length) and length > 0):
        raise ArtefactError(
            f"the direction at {direction.site} has length {length}: fit it again, on finite activations that differ."
        )
    if not (allow_foreign or _same_origin(direction.provenance, model.provenance)):
        raise ArtefactError(
            f"the direction was made for {made_for} and this is {here}: the coordinates of two models do not correspond, even "
            "at equal width. Fit it on this model, or pass allow_foreign (--allow-foreign)."
        )


def warn_if_huge(model: LanguageModel, tokens: Sequence[Sequence[int]], direction: DirectionLike, scale: float) -> None:
    """Warn when the largest vector added exceeds 20 times the mean norm of the site at the (first 16) prompts' last tokens."""
    rows = [Encoded(tuple(row), len(row) - 1) for row in tokens[:16]]
    stream = run(model, rows, read=[direction.site]).at(direction.site, [row.end for row in rows])
    norm = float(stream.float().norm(dim=-1).mean())
    added = scale * direction.scale
    if added > HUGE * norm:
        warnings.warn(
            f"steering adds a vector of length {added:.3g} to {direction.site}, {added / norm:.0f} times the stream's own "
            f"{norm:.3g}: the text will be the vector's and not the model's.",
            stacklevel=3,
        )


def _judged(
    model: LanguageModel,
    tokens: Sequence[Sequence[int]],
    directions: Mapping[str, DirectionLike],
    judge: Judge,
    *,
    scales: Sequence[float],
    max_new_tokens: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of all arms on these prompts. All arms of an emotion, every strength among them, are written together."""
    n, rng = len(tokens), np.random.default_rng(seed)
    doses = _doses(scales)
    strength = np.repeat([scale for _, scale in doses], n)
    decoding = {"max_new_tokens": max_new_tokens, "seed": seed, "temperature": 0.0}
    for emotion, direction in track(list(directions.items()), "steering", unit="emotion"):
        own = np.tile(np.asarray(direction.vector) * direction.scale, (n, 1))
        added = np.concatenate([_random_like(own, rng) if control == "random" else own for control, _ in doses])
        texts = _write(model, [*tokens] * len(doses), direction.site, added, strength, where=WHERE, decoding=decoding)
        verdicts = judge(texts)
        for arm, (control, scale) in enumerate(doses):
            mine = verdicts[arm * n : (arm + 1) * n]
            counts = {"success": mine.count(emotion), "valid": n - mine.count(None)}
            common = {**place(direction.site), "method": METHOD, "emotion": emotion, "scale": scale, "control": control}
            for metric, count in counts.items():
                judged = {"judge": getattr(judge, "__name__", "judge")}
                yield {**common, **judged, "metric": metric, **wilson(count, n)._asdict()}


def _write(
    model: LanguageModel,
    tokens: Sequence[Sequence[int]],
    site: Site,
    added: Float[np.ndarray, "row d_model"],
    strength: Float[np.ndarray, "row"],
    *,
    where: Where,
    decoding: Mapping[str, Any],
) -> list[str]:
    """The continuation of each row of tokens, `strength * added` of its own put in at the site."""
    texts: list[str] = []
    for first in range(0, len(tokens), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        edit = Intervention(site, add(added[part], scale=strength[part]), where)
        with applied(model, [edit], lengths=[len(row) for row in tokens[part]], side="left"):
            texts += [model.decode(new) for new in model.generate(tokens[part], **decoding)]
    return texts


def _doses(scales: Sequence[float]) -> list[tuple[str, float]]:
    """The arms of a sweep as (control, scale)."""
    return [("unsteered", 0.0), *(("", float(s)) for s in scales), *(("random", float(s)) for s in scales)]


def _random_like(vectors: Float[np.ndarray, "row d_model"], rng: np.random.Generator) -> Float[np.ndarray, "row d_model"]:
    """Random directions, each as long as its row."""
    noise = rng.standard_normal(vectors.shape)
    return noise * np.linalg.norm(vectors, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)


def _from_end(rows: Sequence[Encoded]) -> Bool[torch.Tensor, "row pos"]:
    """A mask on each row's text's last token and all after it."""
    width = max(len(row.tokens) for row in rows)
    return torch.arange(width) >= torch.tensor([row.end for row in rows])[:, None]


def _one_a_prompt(scale: float | Sequence[float], n: int) -> Float[np.ndarray, "row"]:
    given = np.asarray(scale, dtype=float)
    if not n or given.shape not in ((), (n,)):
        raise UsageError(f"{n} prompts and {given.size} scales: give at least one prompt, and one scale for all or one each.")
    if not np.isfinite(given).all():
        raise UsageError(f"the scale is {scale}: give a finite number; 0 leaves the text as it is.")
    return np.broadcast_to(given, (n,)).copy()


def _check_scales(scales: Sequence[float]) -> None:
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise UsageError(f"the scales of a sweep are {tuple(scales)}: give finite numbers above 0; 0 is run as `unsteered`.")


def _same_origin(made_for: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    keys = ("digest",) if made_for.get("digest") else ("model", "revision")
    return made_for.get(keys[0]) is not None and all(made_for.get(key) == here.get(key) for key in keys)


def _named(provenance: Mapping[str, Any]) -> str:
    digest = str(provenance.get("digest") or "unknown")[:12]
    return f"{provenance.get('model')} (revision {provenance.get('revision')}, digest {digest})"
