"""Options: what may be set, each written once, as a field of a frozen dataclass.

A field's metadata, made by `about`, carries its help, its heading and its choices. The command line
makes its options from the fields (`interp.cli.options`). A run keeps its settings as one flat list
of names (`flat`), whichever record they lie in, and `build_record` sorts such a list into records
again.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from interp import lazy
from interp.errors import UsageError

Record = TypeVar("Record")

_ABOUT = "about"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of an option.

    `group`: its heading in a command's help; without one, the `GROUP` of its record. `choices`: the
    values that it may have, or the table whose keys they are, as "module:TABLE"
    (`lazy.keys_of`). `several`: several of them between commas, each of which may go on behind a
    colon. `least`: the smallest number; `above`: a number that it must exceed. `parse`: makes its
    value of a command line's text. `offers`: names that it may have among other values, for a shell
    that completes. `flag`: whether commands have it. `name`: what it is called where that is not
    the field's name, and `unit`: how many of the field's units are one of `name`.
    """

    help: str
    group: str = ""
    choices: tuple[str, ...] | str = ()
    several: bool = False
    least: int | None = None
    above: int | None = None
    parse: Callable[[str], Any] | None = None
    offers: Callable[[], Iterable[str]] | None = None
    flag: bool = True
    name: str = ""
    unit: int = 1

    @property
    def allowed(self) -> tuple[str, ...]:
        """The choices; of a table, the keys that it has now."""
        if not isinstance(self.choices, str):
            return self.choices
        return lazy.keys_of(self.choices)

    def odd(self, value: Any) -> str | None:
        """What of a value is none of the choices; None: nothing."""
        if not self.choices:
            return None
        named = [one.strip() for one in value.split(",")] if self.several else [value]
        heads = [one.partition(":")[0] if self.several else one for one in named]
        return next((one for one in heads if one not in self.allowed), None)

    def outward(self, value: Any) -> Any:
        """A field's value as it is under `name`: 67,108,864 bytes are 64 MiB."""
        if self.unit == 1 or value is None:
            return value
        return value // self.unit if value % self.unit == 0 else value / self.unit

    def inward(self, value: Any) -> Any:
        """What is called `value` under `name`, as the field holds it: the inverse of `outward`."""
        return value if self.unit == 1 or value is None else value * self.unit

    def check(self, name: str, value: Any) -> None:
        """Raise `UsageError` where a field's value is none of the choices, or too small."""
        if (odd := self.odd(value)) is not None:
            raise UsageError(f"{name} is {odd!r}: expected one of {', '.join(self.allowed)}.")
        if self.least is not None and value < self.least:
            raise UsageError(f"{name} is {self.outward(value)}: at least {self.least} is needed.")
        if self.above is not None and not value > self.above:
            raise UsageError(f"{name} is {value}: more than {self.above} is needed.")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a record, or of a record in it: its flat name, type, default and description."""

    name: str
    kind: Any
    default: Any
    about: About

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def form(self) -> type:
        """What its value is, where it has one: bool, int, float, str, Path, tuple or dict."""
        origin = get_origin(self.kind)
        if origin is tuple or origin is Mapping:
            return tuple if origin is tuple else dict
        kinds = get_args(self.kind) or (self.kind,)
        found: type = next(kind for kind in kinds if kind is not NoneType)
        return found

    @property
    def holds(self) -> type:
        """What its value is, or of what it is a list."""
        found: type = get_args(self.kind)[0] if self.form is tuple else self.form
        return found


def about(help: str, **more: Any) -> dict[str, Any]:
    """The metadata of a field that is an option; `more` are the other fields of `About`."""
    return {_ABOUT: About(help=help, **more)}


def options_of(record: type) -> dict[str, Option]:
    """The options of `record` and of the records in it, by their flat names."""
    found: dict[str, Option] = {}
    for one, said in _fields(record):
        kind: Any = one.type
        if said is None:
            found |= options_of(kind)
        else:
            name = said.name or one.name
            default = one.default if one.default_factory is MISSING else one.default_factory()
            default = default if default is MISSING else said.outward(default)
            headed = replace(said, group=said.group or record.GROUP)  # type: ignore[attr-defined]
            found[name] = Option(name, kind, default, headed)
    return found


def flat(record: Any) -> dict[str, Any]:
    """The values of all options of `record`, and of the records in it, by their flat names."""
    found: dict[str, Any] = {}
    for one, said in _fields(type(record)):
        value = getattr(record, one.name)
        found |= flat(value) if said is None else {said.name or one.name: said.outward(value)}
    return found


def build_record(record: type[Record], given: Mapping[str, Any]) -> Record:
    """The record, and the records in it, with these values by flat name, and else their defaults.

    Raises `UsageError` for a name that is no option, with the nearest one.
    """
    known = options_of(record)
    for name in given:
        if name not in known:
            raise UsageError(f"unknown setting {name!r}.{nearest_told(name, known)}")
    return _built(record, given)


def nearest_told(name: str, known: Iterable[str]) -> str:
    """The known name nearest to `name`, if one is near, and all that there are: two sentences."""
    there = list(known)
    near = difflib.get_close_matches(name, there, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return f"{meant} There are: {', '.join(there)}."


def check(record: Any) -> None:
    """Raise `UsageError` where a value of `record` is none of its choices, or too small."""
    for one, said in _fields(type(record)):
        if said is None:
            continue
        value = getattr(record, one.name)
        if value is not None or one.default is not None:
            said.check(said.name or one.name, value)


def _fields(record: type) -> Iterator[tuple[Field[Any], About | None]]:
    """The fields that are options, with what is said of them, or records (None is said of
    these).
    """
    for one in fields(record):
        if is_dataclass(one.type) or _ABOUT in one.metadata:
            yield one, one.metadata.get(_ABOUT)


def _built(record: type[Record], given: Mapping[str, Any]) -> Record:
    values: dict[str, Any] = {}
    for one, said in _fields(record):
        if said is None:
            kind: Any = one.type
            values[one.name] = _built(kind, given)
        elif (name := said.name or one.name) in given:
            values[one.name] = said.inward(given[name])
    return record(**values)
