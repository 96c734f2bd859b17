"""Stimulus and Battery: texts in matched pairs, the input of every analysis.

A *scenario* (`group`) is told in several *arms*. Its `keyword_free` text evokes an emotion without
naming it; its `neutral` text is the same scene with the affective turn taken out by a small edit.
These two are *twins* and share `pair`.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, SupportsIndex, TypeVar, overload

from interp.errors import DataError
from interp.notebook import as_html

NEUTRAL = "neutral"
"""The label and the arm of texts without an emotion."""

ARMS = (
    "keyword_free",
    "neutral",
    "keyword_rich",
    "moderate",
    "strong",
    "complex_neutral",
    "counter_valence",
)
"""keyword_free evokes, neutral does not, keyword_rich also names the feeling, moderate evokes
mildly, strong more than keyword_free; complex_neutral is vivid and unemotional; counter_valence
uses emotion words, or what sounds like an emotion, without one.
"""

DOSES = ("moderate", "keyword_free", "strong")
"""Arms that evoke without naming, from little to much."""

EVOKING = ("keyword_rich", *DOSES)
"""Arms whose texts evoke an emotion."""

UNEMOTIONAL = ("complex_neutral", "counter_valence")
"""Arms that sound as if they did, and do not."""


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One text. `pair` ties it to its twin, `group` is the unit of splitting and resampling (the
    scenario).

    `fields` keeps whatever else the file said of it. Raises `DataError` for an empty id, text or
    emotion, or an unknown arm.
    """

    id: str
    text: str
    emotion: str
    arm: str = "keyword_free"
    pair: str | None = None
    group: str = ""
    intensity: str | None = None
    domain: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id.strip():
            raise DataError(
                f"a stimulus has an empty id (text: {self.text[:40]!r}): give every item an id "
                "of its own."
            )
        if not self.text.strip():
            raise DataError(f"stimulus {self.id!r} has an empty text: write it or drop the row.")
        if not self.emotion.strip():
            raise DataError(f"stimulus {self.id!r} has no emotion: name one, or {NEUTRAL!r}.")
        if self.arm not in ARMS:
            raise DataError(
                f"stimulus {self.id!r} has the arm {self.arm!r}: expected one of {', '.join(ARMS)}."
            )
        if not self.group:
            object.__setattr__(self, "group", self.pair or self.id)


class Pair(NamedTuple):
    """Twins: the text that evokes the emotion and the same scene without it."""

    affective: Stimulus
    neutral: Stimulus


class Pairs(tuple[Pair, ...]):
    """Twins in a fixed order: a tuple of `Pair`, whose slices are `Pairs` again."""

    __slots__ = ()

    @overload
    def __getitem__(self, at: SupportsIndex) -> Pair: ...
    @overload
    def __getitem__(self, at: slice) -> "Pairs": ...
    def __getitem__(self, at: SupportsIndex | slice) -> "Pair | Pairs":
        return Pairs(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    @property
    def affective(self) -> tuple[Stimulus, ...]:
        """The affective text of each pair."""
        return tuple(pair.affective for pair in self)

    @property
    def neutral(self) -> tuple[Stimulus, ...]:
        """The neutral text of each pair."""
        return tuple(pair.neutral for pair in self)

    @property
    def groups(self) -> tuple[str, ...]:
        """The scenario of each pair."""
        return tuple(pair.affective.group for pair in self)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that occur, sorted."""
        return tuple(sorted({pair.affective.emotion for pair in self}))

    def of(self, emotion: str) -> "Pairs":
        """The pairs whose affective text evokes `emotion`, in the same order."""
        return Pairs(pair for pair in self if pair.affective.emotion == emotion)

    def split(self, *, seed: int = 0) -> "tuple[Pairs, Pairs]":
        """Two halves that share no scenario: one to fit or choose on, one to score on.

        The scenarios of each emotion are shuffled by `seed` and dealt alternately. Raises
        `StatisticsError` when an emotion has fewer than two scenarios.
        """
        from stimuli.splits import halves

        return halves(self, seed=seed)


Member = TypeVar("Member", Stimulus, Pair)


def in_content_order(members: Iterable[Member]) -> list[Member]:
    """Items or pairs ordered by a digest of their texts: whatever is drawn or dealt in this order
    depends neither on the order of the rows in a file nor on the names of ids, pairs and groups.
    """
    return sorted(members, key=_content_key)


def _content_key(member: Stimulus | Pair) -> tuple[str, ...]:
    items = (member,) if isinstance(member, Stimulus) else member
    texts = (hashlib.sha256(item.text.encode("utf-8")).hexdigest() for item in items)
    return (*texts, *(part for item in items for part in (item.emotion, item.arm)))


@dataclass(frozen=True)
class Battery:
    """Stimuli with unique ids. `warnings` are findings that do not forbid use; they follow the
    battery into the report.

    `notes` say how it came about: its file's format, what was normalised, what was dropped.
    """

    name: str
    items: tuple[Stimulus, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for item in self.items:
            if item.id in seen:
                raise DataError(
                    f"battery {self.name!r}: the id {item.id!r} occurs twice; ids must be unique."
                )
            seen.add(item.id)
        group_of: dict[str, str] = {}
        for item in self.items:
            if item.pair is not None and group_of.setdefault(item.pair, item.group) != item.group:
                raise DataError(
                    f"battery {self.name!r}: the pair {item.pair!r} lies in two groups, "
                    f"{group_of[item.pair]!r} and {item.group!r}: folds would part its twins. "
                    "Give both texts one group."
                )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Stimulus]:
        return iter(self.items)

    @cached_property
    def sha256(self) -> str:
        """Digest of all items' content, in order: two batteries with the same digest hold the same
        stimuli.
        """
        digest = hashlib.sha256()
        for item in self.items:
            row = [
                item.id,
                item.text,
                item.emotion,
                item.arm,
                item.pair,
                item.group,
                item.intensity,
                item.domain,
            ]
            digest.update(
                json.dumps([*row, dict(item.fields)], sort_keys=True, default=str).encode("utf-8")
                + b"\n"
            )
        return digest.hexdigest()

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that occur, neutral left out, sorted."""
        return tuple(sorted({item.emotion for item in self.items} - {NEUTRAL}))

    def where(self, *, arm: str | None = None, emotion: str | None = None) -> "Battery":
        """The items of one arm, or one emotion, or both, in the same order."""
        kept = [i for i in self.items if arm in (None, i.arm) and emotion in (None, i.emotion)]
        return replace(self, items=tuple(kept))

    def pairs(self) -> Pairs:
        """Twins in order of first appearance.

        Raises `DataError` naming up to ten pairs that are not one text of each kind.
        """
        members = self._by_pair()
        broken = [pair for pair, items in members.items() if not _matched(items)]
        if broken:
            raise DataError(
                f"battery {self.name!r}: {len(broken)} of {len(members)} pairs are not one "
                f"affective and one neutral text: {', '.join(map(repr, broken[:10]))}. Mend "
                "them, or drop them with --drop-unmatched."
            )
        return Pairs(Pair(*sorted(items, key=_is_neutral)) for items in members.values())

    def _repr_html_(self) -> str:
        """For a notebook: how many texts there are, and the first twins."""
        facts = {"texts": len(self), "emotions": ", ".join(self.emotions)}
        facts |= {f"arm {arm}": count for arm in ARMS if (count := len(self.where(arm=arm)))}
        matched = [items for items in self._by_pair().values() if _matched(items)]
        facts["twins"] = len(matched)
        shown = [item for items in matched[:2] for item in items] or self.items[:2]
        texts = [(f"{item.emotion} ({item.id})", item.text) for item in shown]
        return as_html(f"Battery {self.name}", [*facts.items(), *texts])

    def _by_pair(self) -> dict[str, list[Stimulus]]:
        members: dict[str, list[Stimulus]] = defaultdict(list)
        for item in self.items:
            if item.pair is not None:
                members[item.pair].append(item)
        return members

    def doses(self) -> dict[str, list[Pair]]:
        """`twinned` of the arms of `DOSES`."""
        return self.twinned(DOSES)

    def twinned(self, arms: Sequence[str]) -> dict[str, list[Pair]]:
        """For each of `arms` that occurs, its texts with their neutral twins: the one of the same
        pair, else the one that the field `twin` names by its id, else the only neutral text of the
        group. Texts without any are left out.
        """
        by_id = {item.id: item for item in self.items if item.emotion == NEUTRAL}
        of_pair = {item.pair: item for item in by_id.values() if item.pair is not None}
        of_group: dict[str, list[Stimulus]] = defaultdict(list)
        for item in by_id.values():
            if item.arm == NEUTRAL:
                of_group[item.group].append(item)
        found: dict[str, list[Pair]] = {}
        for item in sorted(
            self.items, key=lambda one: arms.index(one.arm) if one.arm in arms else -1
        ):
            if item.arm not in arms or item.emotion == NEUTRAL:
                continue
            alone = of_group[item.group][0] if len(of_group[item.group]) == 1 else None
            paired = of_pair.get(item.pair) if item.pair is not None else None
            twin = paired or by_id.get(str(item.fields.get("twin"))) or alone
            if twin is not None:
                found.setdefault(item.arm, []).append(Pair(item, twin))
        return found

    def split(self, *, by: str = "group") -> list[tuple[str, tuple[Stimulus, ...]]]:
        """Items gathered by a field of theirs (`group`, `emotion`, `domain`, ...), in order of
        first appearance.
        """
        gathered: dict[str, list[Stimulus]] = defaultdict(list)
        for item in self.items:
            value = (
                getattr(item, by) if by in Stimulus.__dataclass_fields__ else item.fields.get(by)
            )
            gathered[str(value)].append(item)
        return [(value, tuple(items)) for value, items in gathered.items()]


def _matched(items: list[Stimulus]) -> bool:
    return len(items) == 2 and sum(map(_is_neutral, items)) == 1


def _is_neutral(item: Stimulus) -> bool:
    return item.emotion == NEUTRAL
