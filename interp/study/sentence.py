"""A sentence steered: each prompt continued as the model would, and once more under directions,
with the same seed and stop rules; and what the steering cost.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interp.causal.circuit import Circuit
from interp.causal.forward import Encoded, open_prompts
from interp.causal.generation import write_tokens
from interp.causal.interventions import Intervention, Where
from interp.causal.modulation import modulate
from interp.causal.steering import STEERED_AT
from interp.causal.steps import UNITS, Strength, Weighted, pushes, step
from interp.directions import Direction
from interp.errors import UsageError
from interp.evaluation.costs import costs
from interp.evaluation.forced_choice import forced_choice
from interp.evaluation.readouts import readout_for
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.models.texts.conversations import Prompt
from interp.study.sources import DirectionSource, one_of

UNSTEERED, STEERED = "unsteered", "steered"

PRICE = (
    "perplexity: of the continuation, under the unsteered model; ratio: to the unsteered "
    "continuation's. distinct-2: different pairs of tokens over all pairs. repeated: tokens that "
    "came before. heard: the emotion whose words the unsteered model itself expects most behind "
    "the continuation, against what it expects behind nothing; it must choose one."
)
"""What the columns of `told_price` mean."""

ToldArm = Callable[[str, list[str]], None]
"""Called after each token with the arm at work and its texts so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How prompts are steered and continued. `scale` counts in `unit` (`interp.causal.steps`).

    Raises `UsageError` for a scale that is not finite, or an unknown unit.
    """

    scale: float = 1.0
    unit: str = "dose"
    where: Where = STEERED_AT
    decoding: Decoding

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise UsageError(
                f"the scale is {self.scale}: give a finite number; 0 leaves the text as it is."
            )
        if self.unit not in UNITS:
            raise UsageError(f"unknown unit {self.unit!r}: choose one of {', '.join(UNITS)}.")


class Said(NamedTuple):
    """What was written: the prompts as tokens, and of each arm the new tokens of each prompt."""

    rows: list[Encoded]
    tokens: Mapping[str, list[list[int]]]
    texts: Mapping[str, list[str]]


def read_mixture(text: str) -> dict[str, float]:
    """The weights in `joy` or `joy=1,fear=0.5`, by emotion. Raises `UsageError` for what is no
    number, or not finite, and for an emotion named twice.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        emotion, equals, weight = (side.strip() for side in part.partition("="))
        try:
            value = float(weight) if equals else 1.0
        except ValueError:
            value = math.nan
        if not emotion or not math.isfinite(value):
            raise UsageError(
                f"cannot read the emotion {part.strip()!r}: write a name, or names with finite "
                "weights, such as joy=1,fear=0.5."
            )
        if emotion in found:
            raise UsageError(f"the emotion {emotion!r} is named twice: give it one weight.")
        found[emotion] = value
    return found


def mixed(source: DirectionSource, weights: Mapping[str, float]) -> list[tuple[Direction, float]]:
    """The directions of a source with these weights. Raises `UsageError` for an emotion that it
    lacks.
    """
    known = list(source.directions)
    return [
        (source.directions[one_of(emotion, known, where=source.told)], weight)
        for emotion, weight in weights.items()
    ]


def say(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    steered: Sequence[Weighted] | Circuit,
    manner: Manner,
    *,
    arms: Sequence[str] = (UNSTEERED, STEERED),
    told: ToldArm | None = None,
) -> Said:
    """Each prompt continued in every arm: as it is, and steered along a mixture of directions, or
    by a circuit (whose shifts the manner's scale counts in). Each arm is a batch of its own, so
    that both draw the same numbers, and a scale of 0 gives the unsteered text. Raises as
    `interp.steer` and `modulate`.
    """
    rows = open_prompts(model, prompts)
    if isinstance(steered, Circuit):
        edits = modulate(model, steered, scale=manner.scale, where=manner.where)
    else:
        strength = Strength(manner.scale, manner.unit)
        edits = pushes(model, rows, steered, strength, where=manner.where)
    added: dict[str, list[Intervention]] = {UNSTEERED: [], STEERED: edits}
    tokens = {
        arm: write_tokens(
            model,
            rows,
            added[arm],
            manner.decoding,
            told=_in_words(model, arm, told),
        )
        for arm in arms
    }
    texts = {arm: [model.decode(new) for new in written] for arm, written in tokens.items()}
    return Said(rows, tokens, texts)


def compare(model: LanguageModel, said: Said, emotions: Sequence[str]) -> list[dict[str, Any]]:
    """Rows, one per prompt and arm: what the continuation cost (`interp.evaluation.costs`), its
    perplexity over that of the unsteered one, and which of `emotions` the unsteered model hears in
    it (`forced_choice`: it must choose; None for an empty text).
    """
    judge = forced_choice(model, readout_for(model.name, sorted(emotions)))
    found: list[dict[str, Any]] = []
    for arm, written in said.tokens.items():
        verdicts = judge(said.texts[arm])
        priced = costs(model, said.rows, written)
        for prompt, (cost, verdict) in enumerate(zip(priced, verdicts, strict=True)):
            found.append({"prompt": prompt, "arm": arm, **cost._asdict(), "verdict": verdict})
    usual = {row["prompt"]: row["perplexity"] for row in found if row["arm"] == UNSTEERED}
    return [{**row, "perplexity_ratio": row["perplexity"] / usual[row["prompt"]]} for row in found]


def facts(
    model: LanguageModel,
    source: DirectionSource,
    mixture: Sequence[tuple[Direction, float]],
    manner: Manner,
) -> dict[str, Any]:
    """What a reader needs to say the same again, as JSON values: model, directions, layer, and how
    much is added, in the stream's own units, as a share of its norm, and in natural lengths (None
    for a mixture, and where it is not known).
    """
    steps = [manner.scale * weight * step(one, manner.unit) for one, weight in mixture]
    length = float(np.linalg.norm(np.sum(steps, axis=0)))
    alone = mixture[0][0] if len(mixture) == 1 else None
    norm = float(np.mean([one.stream_norm for one in source.directions.values()]))
    return {
        "model": model.name,
        "digest": model.provenance.get("digest"),
        "directions": source.told,
        "emotions": {one.labels[0]: weight for one, weight in mixture},
        "layer": source.layer,
        "n_layers": model.dims.n_layers,
        "layer_because": source.layer_told,
        "where": list(manner.where),
        "scale": manner.scale,
        "unit": manner.unit,
        "added": length,
        "share_of_stream": _known(length / norm),
        "natural_lengths": None if alone is None else _known(length / alone.length),
        **asdict(manner.decoding),
    }


def circuit_facts(
    model: LanguageModel, path: Path, circuit: Circuit, manner: Manner
) -> dict[str, Any]:
    """The same of steering by a circuit: the file, the emotion, and how much is moved how far."""
    return {
        "model": model.name,
        "digest": model.provenance.get("digest"),
        "circuit": str(path),
        "emotion": circuit.emotion,
        "heads": len(circuit.heads),
        "neurons": len(circuit.neurons),
        "where": list(manner.where),
        "scale": manner.scale,
        "unit": "shift",
        **asdict(manner.decoding),
    }


def circuit_told(facts: Mapping[str, Any]) -> str:
    """Those facts in a line for people."""
    return (
        f"steered to {facts['emotion']}: {facts['heads']} heads and {facts['neurons']} neurons "
        f"moved by {facts['scale']:g} times what twins differ by, at "
        f"{' and '.join(facts['where'])}.\ncircuit: {facts['circuit']}."
    )


def facts_told(facts: Mapping[str, Any]) -> str:
    """Those facts in two lines for people."""
    aim = ", ".join(f"{weight:g} {one}" for one, weight in facts["emotions"].items())
    share, lengths = facts["share_of_stream"], facts["natural_lengths"]
    units = [f"{share:.3g} of the stream's norm"] if share is not None else []
    units += [f"{lengths:.3g} natural lengths"] if lengths is not None else []
    return (
        f"steered to {aim}: adds {facts['added']:.3g} ({', '.join(units)}) behind layer "
        f"{facts['layer']} of 0..{facts['n_layers'] - 1} ({facts['layer_because']}), "
        f"at {' and '.join(facts['where'])}.\ndirections: {facts['directions']}."
    )


def as_rows(
    prompts: Sequence[str], said: Said, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The texts as JSON values, one per prompt and arm, with what they cost, if `rows` say so."""
    priced = {(row["prompt"], row["arm"]): row for row in rows}
    return [
        {
            "prompt": prompt,
            "arm": arm,
            "text": texts[place],
            **{
                name: _known(value)
                for name, value in priced.get((place, arm), {}).items()
                if name not in ("prompt", "arm")
            },
        }
        for place, prompt in enumerate(prompts)
        for arm, texts in said.texts.items()
    ]


def told_price(row: Mapping[str, Any]) -> dict[str, Any]:
    """The arm of a row of `compare` and what it cost, with names for people (`PRICE`)."""
    return {
        "arm": row["arm"],
        "perplexity": row["perplexity"],
        "ratio": row["perplexity_ratio"],
        "distinct-2": row["distinct_2"],
        "repeated": row["repeated"],
        "heard": row["verdict"],
    }


def _known(value: Any) -> Any:
    """A value as JSON holds it: a number that is not finite is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_words(model: LanguageModel, arm: str, told: ToldArm | None) -> Any:
    """`told`, called with tokens."""
    if told is None:
        return None

    def in_words(written: list[list[int]]) -> None:
        told(arm, [model.decode(new) for new in written])

    return in_words
