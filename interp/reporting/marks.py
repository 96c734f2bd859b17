"""Pass marks: what is claimed before a study is run, and what its result has to be.

Nothing heavy is imported here, so that a file of claims is checked at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from interp.errors import ArtefactError, UsageError
from interp.options import about, check
from interp.records import RunRecord
from interp.reporting.decisions import Verdict

MET_BY: Mapping[str, tuple[Verdict, ...]] = {
    "found": (Verdict.FOUND,),
    "not found": (Verdict.NOT_FOUND, Verdict.NOT_TOLD_APART),
    "inverted": (Verdict.INVERTED,),
}
"""The verdicts that a claim may be registered with, and by which of the report each is met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassMark:
    """A claim of the report (`stage: what`), the verdict that is wanted of it, and bounds.

    `at_least` and `at_most` bound the estimate; `surely_at_least` and `surely_at_most` its whole
    95 % interval. Raises `UsageError` for another verdict, and for bounds that cross.
    """

    GROUP: ClassVar[str] = "Claims"

    claim: str = field(metadata=about("The claim's name; `interp claims` lists all."))
    verdict: str = field(
        default="found", metadata=about("The verdict that is wanted.", choices=tuple(MET_BY))
    )
    at_least: float | None = field(
        default=None, metadata=about("The number must be at least this.")
    )
    at_most: float | None = field(default=None, metadata=about("The number must be at most this."))
    surely_at_least: float | None = field(
        default=None, metadata=about("Its whole interval must be at least this.")
    )
    surely_at_most: float | None = field(
        default=None, metadata=about("Its whole interval must be at most this.")
    )

    def __post_init__(self) -> None:
        check(self)
        lows = [low for low in (self.at_least, self.surely_at_least) if low is not None]
        highs = [high for high in (self.at_most, self.surely_at_most) if high is not None]
        if lows and highs and max(lows) > min(highs):
            raise UsageError(
                f"the bounds of {self.claim!r} cross: no number is at least {max(lows):g} and at "
                f"most {min(highs):g}."
            )

    @property
    def told(self) -> str:
        """What is wanted, as text: `found, at least 0.3`."""
        bounds = [
            f"{name.replace('_', ' ')} {value:g}"
            for name in BOUNDS
            if (value := getattr(self, name)) is not None
        ]
        return ", ".join((self.verdict, *bounds))

    def record(self) -> dict[str, Any]:
        """The mark as plain values; bounds that are not set are left out."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in known.items() if value is not None}


BOUNDS = ("at_least", "at_most", "surely_at_least", "surely_at_most")


@dataclass(frozen=True, slots=True)
class Registered:
    """What the record of a run holds of its registration: when it was made, the digest of its
    content, and the marks.
    """

    time: str
    sha256: str
    marks: tuple[PassMark, ...]


def registered_in(record: RunRecord) -> Registered | None:
    """What a run was registered with; None where it was not.

    Raises `ArtefactError` where the record holds no such thing in its place.
    """
    known = record.provenance.get("registration")
    if known is None:
        return None
    try:
        content = known["content"]
        return Registered(
            str(content["registered"]), str(known["sha256"]), read_marks(content["claims"])
        )
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise ArtefactError(
            f"run.json holds no registration of interp ({error}): it was changed. Run the study "
            "again from its registration."
        ) from error


def read_marks(given: Sequence[Mapping[str, Any]]) -> tuple[PassMark, ...]:
    """The marks of plain values, as `PassMark.record` gives them."""
    return tuple(PassMark(**one) for one in given)
