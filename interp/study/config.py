"""A file of settings: a TOML file that a person wrote, or the run.json of a finished study.

Each option of `interp run` stands in it under its flat name, as in run.json: `model`, `folds`,
`token_budget`. Paths in a TOML file are relative to its folder. Nothing heavy is imported here.
"""

import json
import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import stimuli
from interp.errors import UsageError
from interp.files import read_regular
from interp.models.loading.packaged import PACKAGED
from interp.options import Option, flat, nearest_told, options_of
from interp.records import read_record
from interp.reporting.marks import PassMark
from interp.settings import StudyOptions
from interp.testbeds.records import TESTBEDS

MOST_CHARACTERS = 1 << 20
"""The longest file of settings that is read at all."""

CLAIMS_KEY = "claims"
"""The key of what is registered; it is no option."""

_CONTENT = "sha256 "
"""How a record begins to tell of a chat template that came out of a file."""

_FORMS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    Path: "a path in quotes",
    tuple: 'a list of texts, such as ["a", "b"]',
    dict: 'a table of texts, such as { text = "Sentence" }',
}
_FOUND: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class Config:
    """What a file of settings says.

    `values` are the options by flat name, ready to use; `written` the same as they stand in the
    file, with paths relative to it. `claims` is what is to be registered. Of a finished study,
    `battery` is the digest that its texts had, and `lacks` says of an option why the record does
    not hold it.
    """

    path: Path
    values: Mapping[str, Any]
    written: Mapping[str, Any] = field(default_factory=dict)
    claims: tuple[PassMark, ...] = ()
    battery: str | None = None
    lacks: Mapping[str, str] = field(default_factory=dict)


def read_settings_file(path: Path, known: Mapping[str, Option]) -> Config:
    """The settings in a TOML file, or in a run.json; `known` are the options that it may hold.

    Raises `UsageError` naming file, line, key, what was expected and the nearest key;
    `ArtefactError` for a run.json that is none.
    """
    if path.suffix == ".json":
        return _of_a_run(path)
    text = _read(path)
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}.") from error
    where = partial(_where, path, text)
    claims = _claims(found.pop(CLAIMS_KEY, []), path, where(CLAIMS_KEY))
    values = checked(found, known, folder=path.parent, where=where)
    return Config(path, values, found, claims)


def checked(
    found: Mapping[str, Any],
    known: Mapping[str, Option],
    *,
    folder: Path,
    where: Callable[[str], str],
) -> dict[str, Any]:
    """The values of a table of options, each of its type and among its choices, with paths taken
    from `folder`; `where` says of a key where it stands.
    """
    values = {}
    for key, value in found.items():
        if key not in known:
            raise UsageError(f"{where(key)}: unknown key {key!r}.{nearest_told(key, known)}")
        try:
            values[key] = _placed(known[key], _typed(known[key], value), folder)
        except UsageError as error:
            raise UsageError(f"{where(key)}: {error}") from error
    return values


def refuse_other_texts(config: Config, asked: StudyOptions) -> None:
    """Raise `UsageError` where the same texts are asked for as in a finished study, and these have
    changed since.
    """
    then, now = config.values, flat(asked)
    names = ("stimuli", *options_of(type(asked.texts)))
    if config.battery is None or any(then.get(name, now[name]) != now[name] for name in names):
        return
    digest = asked.texts.read(asked.stimuli).sha256
    if digest != config.battery:
        raise UsageError(
            f"{config.path} is of other texts: {asked.stimuli} had the digest "
            f"{config.battery[:12]}, and has {digest[:12]} now. Put the battery back, or name "
            "another one with --stimuli."
        )


def _read(path: Path) -> str:
    try:
        return read_regular(path, most=MOST_CHARACTERS).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 at byte {error.start}: convert it.") from error


def _of_a_run(path: Path) -> Config:
    """The settings of a finished study, as its record holds them."""
    record = read_record(path)
    asked = {name: value for name, value in record.config.items() if name != "battery_sha256"}
    asked |= record.provenance.get("aside", {})
    known = options_of(StudyOptions)
    lacks = {}
    for name in asked:
        if name not in known:
            raise UsageError(
                f"{path} has the setting {name!r}, which this interp does not know: another "
                "version wrote it. Write its settings into a TOML file."
            )
    if str(asked.get("chat_template")).startswith(_CONTENT):
        digest = asked.pop("chat_template")
        lacks["chat_template"] = (
            f"{path} is of a study whose chat template came out of a file, and it keeps only the "
            f"digest of that ({digest}): name the file with --chat-template."
        )
    values = {name: _typed(known[name], one) for name, one in asked.items() if one is not None}
    battery = record.config.get("battery_sha256")
    return Config(path, values, battery=None if battery is None else str(battery), lacks=lacks)


def _claims(found: Any, path: Path, line: str) -> tuple[PassMark, ...]:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(
            f"{line}: claims is {_told(found)}: expected tables, each headed [[claims]]."
        )
    return tuple(
        _claim(one, f"{path}, claim {number} of {len(found)}")
        for number, one in enumerate(found, start=1)
    )


def _claim(found: Mapping[str, Any], where: str) -> PassMark:
    given = checked(found, options_of(PassMark), folder=Path(), where=lambda _: where)
    try:
        if "claim" not in given:
            raise UsageError("the key 'claim' is missing, which names the claim.")
        return PassMark(**given)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _where(path: Path, text: str, key: str) -> str:
    """The file, and the line of a key where one line alone sets it."""
    pattern = rf"^[ \t]*(?:\[+[ \t]*)?[\"']?{re.escape(key)}[\"']?[ \t]*[=.\]]"
    places = [match.start() for match in re.finditer(pattern, text, re.MULTILINE)]
    return (
        f"{path}, line {text.count(chr(10), 0, places[0]) + 1}" if len(places) == 1 else f"{path}"
    )


def _typed(option: Option, value: Any) -> Any:
    """A value of a file as the option's type, of the right size and among its choices."""
    form = option.form
    if form is tuple and isinstance(value, list) and all(type(one) is str for one in value):
        read: Any = tuple(option.holds(one) for one in value)
        if not value and option.default:
            raise UsageError(f"{option.name} is an empty list: name at least one, or leave it out.")
    elif form is dict and isinstance(value, dict):
        read = dict(value) if all(type(one) is str for one in value.values()) else None
    elif form is float and type(value) in (int, float):
        read = float(value) if math.isfinite(value) else None
    elif form is Path and type(value) is str:
        read = Path(value) if value else None
    else:
        read = value if type(value) is form else None
    if read is None:
        raise UsageError(f"{option.name} is {_told(value)}: expected {_FORMS[form]}.")
    option.about.check(option.name, option.about.inward(read))
    return read


def _told(value: Any) -> str:
    """A value of a file in an error: what it is, and the value itself where it is short."""
    kind = _FOUND.get(type(value), "a date or a time")
    if isinstance(value, list | dict):
        return kind
    return f"{value!r} ({kind})" if isinstance(value, str) else f"{json.dumps(value, default=str)}"


def _placed(option: Option, value: Any, folder: Path) -> Any:
    """The value, with a path in it taken from `folder`."""
    if option.holds is Path:
        return tuple(folder / one for one in value) if option.form is tuple else folder / value
    if option.name == "judge":
        return ",".join(_judge(one.strip(), folder) for one in value.split(","))
    if option.name not in _NAMES:
        return value
    return _named(option.name, value, folder, _NAMES[option.name])


def _named(option: str, value: str, folder: Path, names: Collection[str]) -> str:
    """A name as it is; a path taken from `folder`."""
    path = folder / value
    if value in names:
        return value
    if _is_there(path):
        return str(path)
    if _is_there(Path(value)):
        raise UsageError(
            f"{option} is {value!r}, and nothing lies at {path}: paths in a file of settings are "
            "relative to its folder."
        )
    return value


def _judge(text: str, folder: Path) -> str:
    """A judge, with the file or folder behind its last colon taken from `folder`."""
    head, colon, behind = text.rpartition(":")
    known = (*_NAMES["model"], *_NAMES["stimuli"])
    return f"{head}:{_named('judge', behind, folder, known)}" if colon else text


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no file can have this name
        return False


_NAMES: Mapping[str, Collection[str]] = {
    "model": (*TESTBEDS, *PACKAGED),
    "stimuli": stimuli.names(),
    "chat_template": ("on", "off"),
}
"""Options that hold a path, or one of these names."""
