"""The story world's data: event frames, the appraisal table, names and scenery, and which
combinations training never sees.

An emotion is never written into a frame. A frame only says whether it is good or bad; with who
caused it, whether it has happened or may happen, whether it was expected, whether it contaminates,
and whom it befalls, the table decides.
"""

import csv
import hashlib
import io
import itertools
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from interp.errors import InternalError

EMOTIONS: tuple[str, ...] = (
    "joy",
    "trust",
    "fear",
    "surprise",
    "sadness",
    "disgust",
    "anger",
    "anticipation",
)
"""Plutchik's eight primaries, in the order of his wheel."""

_HELD_OUT_COMBINATIONS = 0.1


@dataclass(frozen=True, slots=True)
class Appraisal:
    """How an event looks to the protagonist; every field is a word of the table
    `data/appraisals.tsv`.

    `concerns` self or other; `valence` good, bad or neither; `agent` self, other or circumstance;
    `status` happened or may; `expected` and `contaminating` yes or no; `reliable` yes or no where
    another person acts, else `-`.
    """

    concerns: str
    valence: str
    agent: str
    status: str
    expected: str
    contaminating: str
    reliable: str

    @property
    def emotion(self) -> str | None:
        """The emotion of the table's first row that fits, `neutral`, or None where the table has no
        row.
        """
        values = asdict(self)
        for row in appraisal_table():
            if all(row[name] in ("*", value) for name, value in values.items()):
                return row["emotion"]
        return None


@dataclass(frozen=True, slots=True)
class Verb:
    """The three forms that a wording needs."""

    base: str
    past: str
    participle: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A kind of event: a verb and its object within a family, which says who may cause it and what
    is ordinary there.

    `schema`: `possession` (something of X's is acted on), `person` (X is acted on), `agent` (X
    acts).
    """

    family: str
    verb: Verb
    thing: str
    plural: bool
    schema: str
    valence: str
    contaminating: bool

    @property
    def id(self) -> str:
        """Family, verb and object, such as `wreck/break/boat`."""
        return f"{self.family}/{self.verb.base}/{self.thing or 'person'}"


@dataclass(frozen=True, slots=True)
class WayToFeel:
    """A way to arrive at an emotion: a family's frames under one appraisal."""

    frames: tuple[Frame, ...]
    causes: tuple[str, ...]
    ordinary: tuple[Verb, ...]
    appraisal: Appraisal


@cache
def data(name: str) -> Any:
    """The content of `data/{name}.json`."""
    return json.loads(_text(f"{name}.json"))


@cache
def scenery_words(name: str) -> tuple[str, ...]:
    """A list of words of `data/scenery.json`: names, places, roles, trades, adjectives or times."""
    return tuple(data("scenery")[name].split())


@cache
def appraisal_table() -> tuple[dict[str, str], ...]:
    """The rows of `data/appraisals.tsv`, in order; each names its source."""
    return tuple(csv.DictReader(io.StringIO(_text("appraisals.tsv")), delimiter="\t"))


@cache
def frames() -> tuple[Frame, ...]:
    """All event frames of the world."""
    return tuple(frame for family in data("families") for frame in _family_frames(family))


@cache
def ways_to_emotions() -> dict[str, tuple[WayToFeel, ...]]:
    """For each emotion, the families and appraisals that lead to it."""
    found: dict[str, list[WayToFeel]] = {emotion: [] for emotion in EMOTIONS}
    for family in data("families"):
        for agent, status, expected in itertools.product(
            family["causes"], family["statuses"], ("yes", "no")
        ):
            appraisal = _appraisal(family, agent=agent, status=status, expected=expected)
            if appraisal.emotion in found:
                found[appraisal.emotion].append(_option(family, appraisal))
    if empty := [emotion for emotion, ways in found.items() if not ways]:
        raise InternalError(
            f"no frame leads to {', '.join(empty)}: data/families.json and data/appraisals.tsv "
            "do not meet."
        )
    return {emotion: tuple(ways) for emotion, ways in found.items()}


def held_out_combination(frame: Frame, emotion: str) -> bool:
    """Whether training never sees this frame with this emotion (about one combination in ten)."""
    return draw_number(f"combination:{frame.id}:{emotion}") < _HELD_OUT_COMBINATIONS


def held_out_wording(frame: Frame) -> str:
    """The wording in which training never tells this frame."""
    wordings = wording_ids()
    return wordings[int(draw_number(f"wording:{frame.id}") * len(wordings))]


@cache
def wording_ids() -> tuple[str, ...]:
    """The names of the wordings that tell an event of two people."""
    return tuple(row["id"] for row in data("wordings") if not row.get("single", False))


def draw_number(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:6], "big") / 2**48


def _text(name: str) -> str:
    return (files("interp.testbeds.storyworld") / "data" / name).read_text(encoding="utf-8")


def _verb(forms: str) -> Verb:
    base, past, participle = forms.split()
    return Verb(base, past, participle)


def _family_frames(family: dict[str, Any]) -> tuple[Frame, ...]:
    return tuple(
        Frame(
            family=family["id"],
            verb=_verb(forms),
            thing=thing.removesuffix("*"),
            plural=thing.endswith("*"),
            schema=family["schema"],
            valence=family["valence"],
            contaminating=family.get("contaminating", False),
        )
        for forms, thing in itertools.product(family["verbs"], family["objects"])
    )


def _appraisal(family: dict[str, Any], *, agent: str, status: str, expected: str) -> Appraisal:
    reliable = {"good": "yes", "bad": "no"}.get(family["valence"], "-") if agent == "other" else "-"
    return Appraisal(
        concerns="self",
        valence=family["valence"],
        agent=agent,
        status=status,
        expected=expected,
        contaminating="yes" if family.get("contaminating", False) else "no",
        reliable=reliable,
    )


def _option(family: dict[str, Any], appraisal: Appraisal) -> WayToFeel:
    causes = family["causes"][appraisal.agent]
    return WayToFeel(
        frames=_family_frames(family),
        causes=scenery_words("roles") if causes == "roles" else tuple(causes),
        ordinary=tuple(_verb(forms) for forms in family["ordinary"][appraisal.agent]),
        appraisal=appraisal,
    )
