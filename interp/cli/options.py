"""Options of commands, made from the fields of records: a default is written there, and not
here.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import click

from interp.errors import UsageError
from interp.options import About, Option, build_record, options_of
from interp.settings import StudyOptions, TextOptions

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

HEADINGS = ("Model", "Texts", "Capture", "Study", "Direction", "Writing", "Command")
"""The headings of a command's help, in order."""


class Choices(click.ParamType):
    """One of an option's choices; a table is read when a value is converted or help is printed."""

    name = "choice"

    def __init__(self, said: About) -> None:
        self._said = said

    @property
    def _plain(self) -> click.Choice[str]:
        return click.Choice(self._said.allowed)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value`, if it is a choice; else the choices are told."""
        return self._plain.convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """The choices, for the help."""
        return self._plain.get_metavar(param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """The choices that begin so."""
        return self._plain.shell_complete(ctx, param, incomplete)


class SeveralChoices(Choices):
    """Several of an option's choices between commas; each may go on behind a colon."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value`, if what it names are choices; else the choices are told."""
        if (odd := self._said.odd(value)) is not None:
            self._plain.convert(odd, param, ctx)  # refuses it
        return str(value)


class GroupedOption(click.Option):
    """An option that stands under a heading."""

    def __init__(self, *declarations: Any, group: str = HEADINGS[-1], **more: Any) -> None:
        super().__init__(*declarations, **more)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        listed: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        for one in self.get_params(ctx):
            if (record := one.get_help_record(ctx)) is not None:
                listed[getattr(one, "group", HEADINGS[-1])].append(record)
        for heading, records in listed.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def options(*decorators: Decorator) -> Decorator:
    """Several decorators as one; the first one's options come first."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def gathered(
    record: type,
    *,
    into: str,
    only: Collection[str] = (),
    hidden: Collection[str] = (),
) -> Decorator:
    """The options of `record`, which the command gets as that record, named `into`.

    What was not said keeps its default. `only` names some of the options, `hidden` those that the
    help leaves out.
    """
    known = {name: one for name, one in options_of(record).items() if one.about.flag}
    chosen = {name: one for name, one in known.items() if not only or name in only}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gather(**values: Any) -> Any:
            said = {name: values.pop(name) for name in chosen}
            said = {name: value for name, value in said.items() if value not in (None, (), {})}
            return command(**{into: build_record(record, said)}, **values)

        taking: Command = gather
        for name, one in reversed(chosen.items()):
            taking = _option(one, hidden=name in hidden)(taking)
        return taking

    return decorate


def single(record: type, name: str) -> Decorator:
    """One option of `record`, by itself."""
    one = options_of(record)[name]
    return click.option(_flag(name), default=one.default, show_default=True, help=one.about.help)


def _option(one: Option, *, hidden: bool) -> Decorator:
    """The click option of one option; None is what it gives where nothing is said."""
    said, shown = one.about, "" if one.is_required else _shown(one.default)
    return click.option(
        _flag(one.name),
        one.name,
        cls=GroupedOption,
        group=said.group,
        required=one.is_required,
        help=f"{said.help}  [default: {shown}]" if shown else said.help,
        hidden=hidden,
        **_kind(one),
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(default: Any) -> str:
    """A default, as the help shows it; nothing where there is none to speak of."""
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    untold = default is None or isinstance(default, bool | Mapping)
    return "" if untold else str(default)


def _kind(one: Option) -> dict[str, Any]:
    """How click is to read a value of this type."""
    said = one.about
    kind = next((part for part in get_args(one.kind) if part is not NoneType), one.kind)
    if one.kind is bool:
        return {"is_flag": True}
    if said.parse is not None:
        return {"callback": _parsed(said.parse)}
    if said.several:
        return {"type": SeveralChoices(said), "multiple": True, "callback": _joined}
    if said.choices:
        return {"type": Choices(said)}
    if kind is int:
        return {"type": int if said.least is None else click.IntRange(said.least)}
    if kind is float:
        return {"type": click.FloatRange(said.above, min_open=True)}
    if kind is Path:
        several = get_origin(one.kind) is tuple
        return {"type": click.Path(path_type=Path), "multiple": several}
    return {"type": str}


def _joined(context: click.Context, parameter: click.Parameter, value: Any) -> str | None:
    """What an option was given, once or again, as one text; None where it was not given."""
    return ",".join(value) or None


def _parsed(parse: Callable[[str], Any]) -> Callable[..., Any]:
    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
        except UsageError as error:
            raise click.BadParameter(str(error), context, parameter) from error

    return read


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
seed = single(StudyOptions, "seed")
texts = gathered(TextOptions, into="reading")
"""How stimuli are read, as the argument `reading`."""
