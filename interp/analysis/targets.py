"""What probes may be asked of besides the emotion: a field of the texts, such as their intensity.

A field that holds numbers, or words of a known order, is *graded*: a regression reads it
(`interp.analysis.graded`). One that holds other words is a question of classes, like that of the
emotion.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.errors import DataError, StatisticsError, UsageError
from stimuli.battery import Stimulus

ORDERED: Mapping[str, tuple[str, ...]] = {"intensity": ("none", "mild", "clear", "strong")}
"""Fields whose words are steps, from the least to the most; the steps count as equal."""

FEWEST_SCENARIOS = 5
"""Scenarios that a word needs to be told apart from others, or as many as there are folds."""

ABSENT = ("", "-")
"""What a field says that does not apply to a text."""


@dataclass(frozen=True, slots=True)
class FieldTarget:
    """A field of texts: the texts that have it, and a number or a word for each."""

    name: str
    items: tuple[Stimulus, ...]
    values: tuple[float | str, ...]
    is_graded: bool

    @property
    def groups(self) -> list[str]:
        """The scenario of each text."""
        return [item.group for item in self.items]

    @property
    def numbers(self) -> list[float]:
        """The values of a graded target."""
        return list(map(float, self.values))

    @property
    def words(self) -> list[str]:
        """The values as words."""
        return list(map(str, self.values))

    def only(self, places: Iterable[int]) -> "FieldTarget":
        """The same of the texts at these places."""
        kept = list(places)
        items = tuple(self.items[at] for at in kept)
        return replace(self, items=items, values=tuple(self.values[at] for at in kept))


def without_rare(target: FieldTarget, *, folds: int) -> FieldTarget:
    """The target without the words that are in fewer scenarios than there are folds, or than
    `FEWEST_SCENARIOS`; it warns of these. Raises `StatisticsError` where fewer than two words are
    left.
    """
    if target.is_graded:
        return target
    least = max(folds, FEWEST_SCENARIOS)
    scenarios: dict[float | str, set[str]] = defaultdict(set)
    for item, value in zip(target.items, target.values, strict=True):
        scenarios[value].add(item.group)
    rare = sorted(str(word) for word, groups in scenarios.items() if len(groups) < least)
    if not rare:
        return target
    told = f"{target.name}: {', '.join(map(repr, rare))} have fewer than {least} scenarios"
    if len(scenarios) - len(rare) < 2:
        raise StatisticsError(f"{told}, and fewer than two words are left: add scenarios.")
    warnings.warn(f"{told} and were left out.", stacklevel=2)
    return target.only(at for at, value in enumerate(target.values) if value not in rare)


def target_of(name: str, items: Sequence[Stimulus]) -> FieldTarget:
    """The field `name` of those of `items` that have it; `appraisal.agent` is `agent` in the field
    `appraisal`.

    Raises `DataError` where no text has it, or numbers and words are mixed, or a number is not
    finite (with the text's id); `StatisticsError` where all texts have the same.
    """
    found = [(item, value) for item in items if (value := _read(item, name)) is not None]
    if not found:
        known = ", ".join(field_names(items))
        raise DataError(f"no text has the field {name!r}; the fields of the texts are: {known}.")
    texts = tuple(item for item, _ in found)
    if name in ORDERED:
        values: Sequence[Any] = [_step(name, item, str(value)) for item, value in found]
    else:
        values = _numbers(name, found)
    if len(set(values)) < 2:
        raise StatisticsError(
            f"all texts that have the field {name!r} have the same ({values[0]}): there is nothing "
            "to tell apart."
        )
    return FieldTarget(name, texts, tuple(values), isinstance(values[0], float))


def classes_of(name: str, items: Sequence[Stimulus]) -> FieldTarget:
    """`target_of` a field of words, whose values can be left out one by one.

    Raises as `target_of`, and `DataError` for a field that holds numbers or steps.
    """
    found = target_of(name, items)
    if found.is_graded:
        raise DataError(
            f"the field {name!r} holds numbers or steps: no value of it is left out. Name a field "
            "of words, such as domain."
        )
    return found


@dataclass(frozen=True, slots=True)
class SoftTarget:
    """Soft labels: the texts that have them, and the share of each emotion in each text."""

    emotions: tuple[str, ...]
    items: tuple[Stimulus, ...]
    shares: Float[np.ndarray, "item emotion"]

    def only(self, places: Iterable[int]) -> "SoftTarget":
        """The same of the texts at these places."""
        kept = list(places)
        return replace(self, items=tuple(self.items[at] for at in kept), shares=self.shares[kept])


def soft_of(names: Sequence[str], items: Sequence[Stimulus]) -> SoftTarget:
    """The soft labels of those of `items` that have the fields `names`, a weight of one emotion
    each (`shares.joy` is that of joy); the weights of a text are made to add up to 1.

    Raises `UsageError` for fewer than two fields or two of one emotion, `DataError` where a text
    has some of the fields only, a weight below zero, or none above it (with the text's id); else as
    `target_of`.
    """
    emotions = tuple(name.rpartition(".")[2] for name in names)
    if len(emotions) < 2 or len(set(emotions)) < len(emotions):
        raise UsageError(
            f"soft labels need two fields or more, each of another emotion; these are of "
            f"{', '.join(emotions) or 'none'}. Name them as shares.joy,shares.fear."
        )
    weights: dict[str, list[float]] = defaultdict(lambda: [math.nan] * len(names))
    for at, name in enumerate(names):
        field = target_of(name, items)
        if not field.is_graded:
            raise DataError(f"the field {name!r} holds words: a soft label needs numbers.")
        for item, value in zip(field.items, field.numbers, strict=True):
            weights[item.id][at] = value
    texts = tuple(item for item in items if item.id in weights)
    rows = [_checked(item.id, weights[item.id], names) for item in texts]
    shares = np.array(rows)
    return SoftTarget(emotions, texts, shares / shares.sum(axis=1, keepdims=True))


def _checked(text: str, weights: Sequence[float], names: Sequence[str]) -> Sequence[float]:
    for weight, name in zip(weights, names, strict=True):
        if math.isnan(weight):
            raise DataError(
                f"text {text!r} has no {name!r}, though other fields of its soft label: give it a "
                "number (0 where the emotion has no share)."
            )
        if weight < 0:
            raise DataError(f"text {text!r} has {weight:g} in {name!r}: expected 0 or more.")
    if not sum(weights):
        raise DataError(
            f"text {text!r} has 0 in all of {', '.join(names)}: give one of them a weight, or "
            "leave the fields out."
        )
    return weights


def field_names(items: Iterable[Stimulus]) -> list[str]:
    """The fields that any of the texts has, as `target_of` reads them, in order."""
    return sorted({field for item in items for field in _fields(item)})


def _fields(item: Stimulus) -> list[str]:
    own = [name for name in ("intensity", "domain") if getattr(item, name)]
    for name, value in item.fields.items():
        inner = value if isinstance(value, Mapping) else None
        own += [name] if inner is None else [f"{name}.{one}" for one in inner]
    return own


def _read(item: Stimulus, name: str) -> Any:
    """What the field says of a text; None where it says nothing."""
    head, _, rest = name.partition(".")
    value = getattr(item, head) if head in ("intensity", "domain") else item.fields.get(head)
    if rest:
        value = value.get(rest) if isinstance(value, Mapping) else None
    return None if value is None or str(value).strip() in ABSENT else value


def _step(name: str, item: Stimulus, value: str) -> float:
    steps = ORDERED[name]
    if value not in steps:
        raise DataError(
            f"text {item.id!r} has the {name} {value!r}: expected one of {', '.join(steps)}."
        )
    return float(steps.index(value))


def _numbers(name: str, found: Sequence[tuple[Stimulus, Any]]) -> list[float] | list[str]:
    """The values as numbers where all are; as words where none is."""
    read = [_number(value) for _, value in found]
    if all(value is None for value in read):
        return [str(value) for _, value in found]
    numbers: list[float] = []
    for (item, value), number in zip(found, read, strict=True):
        if number is None or not math.isfinite(number):
            raise DataError(
                f"text {item.id!r} has {value!r} in the field {name!r}, of which other texts have "
                "a number: give it a finite number, or leave it out."
            )
        numbers.append(number)
    return numbers


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
