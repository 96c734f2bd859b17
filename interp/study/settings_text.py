"""Settings as a file that a person reads and `interp run --config` reads again."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from interp.options import Option, flat, options_of
from interp.settings import StudyOptions


def config_text(asked: StudyOptions) -> str:
    """All settings as a TOML file, each under its help; those that are not set are comments."""
    lines = ["# Settings of an interp study. Paths are relative to the folder of this file."]
    values, known = flat(asked), options_of(StudyOptions)
    for heading in dict.fromkeys(option.about.group for option in known.values()):
        lines += ["", f"# ---- {heading}"]
        for name, option in known.items():
            if option.about.group == heading:
                lines += _lines(option, values[name])
    return "\n".join(lines) + "\n"


def _lines(option: Option, value: Any) -> list[str]:
    """An option's lines in a file: its help and choices as comments, and its value."""
    said = option.about
    listed = said.choices and not said.several
    told = f"{said.help} One of {', '.join(said.allowed)}." if listed else said.help
    line = f"# {option.name} is not set" if value is None else f"{option.name} = {_as_toml(value)}"
    return [*(f"# {part}" for part in textwrap.wrap(told, 97)), line]


def _as_toml(value: Any) -> str:
    """A value of an option, as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_as_toml(name)} = {_as_toml(one)}" for name, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    # JSON escapes as TOML does, but for this one.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
