"""Options of commands, made from the fields of records: a default is written there, and not
here.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

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

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """The choices that go on behind the last comma."""
        return completed(self._said.allowed, incomplete)


FROM_FILE = "interp.cli.settings_file"
"""Where a context keeps the values of a file of settings."""


@dataclass(frozen=True, slots=True)
class FromFile:
    """What a file of settings says of options that are not said on the command line: the `values`
    of some, and why others, which it `lacks`, have to be said.
    """

    values: Mapping[str, Any]
    lacks: Mapping[str, str] = field(default_factory=dict)


class GroupedOption(click.Option):
    """An option that stands under a heading; where the command line does not say it, a file of
    settings may.
    """

    def __init__(self, *declarations: Any, group: str = HEADINGS[-1], **more: Any) -> None:
        super().__init__(*declarations, **more)
        self.group = group

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value: that of the command line, else that of the file, else what click makes of
        none.
        """
        told: FromFile | None = ctx.meta.get(FROM_FILE)
        name = str(self.name)
        if told is None or ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            return super().process_value(ctx, value)
        if name in told.lacks:
            raise UsageError(told.lacks[name])
        return told.values[name] if name in told.values else super().process_value(ctx, value)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option in the help, without the opposite of a flag."""
        record = super().get_help_record(ctx)
        return record and (record[0].partition(" / ")[0], record[1])


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
    arguments: Mapping[str, str] = MappingProxyType({}),
    filed: bool = False,
) -> Decorator:
    """The options of `record`, which the command gets as that record, named `into`.

    What was not said keeps its default. `only` names some of the options, `hidden` those that the
    help leaves out, `arguments` those that are arguments of the command instead, with what its help
    calls them. Where they are `filed`, a file of settings may say them, those without a flag
    too; each switch then has an opposite.
    """
    every = options_of(record)
    known = {name: one for name, one in every.items() if one.about.flag}
    unflagged = every.keys() - known.keys()
    chosen = {name: one for name, one in known.items() if not only or name in only}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gather(**values: Any) -> Any:
            said = {name: values.pop(name) for name in chosen}
            said = {name: value for name, value in said.items() if value not in (None, (), {})}
            if filed:
                said |= {name: one for name, one in _filed().items() if name in unflagged}
            return command(**{into: build_record(record, said)}, **values)

        taking: Command = gather
        for name, one in reversed(chosen.items()):
            if name in arguments:
                taking = _argument(one, arguments[name])(taking)
            else:
                taking = _option(one, hidden=name in hidden, filed=filed)(taking)
        return taking

    return decorate


def _filed() -> Mapping[str, Any]:
    """What the file of settings of this call says; nothing where there is none."""
    told: FromFile | None = click.get_current_context().meta.get(FROM_FILE)
    return {} if told is None else told.values


def single(record: type, name: str) -> Decorator:
    """One option of `record`, by itself."""
    one = options_of(record)[name]
    return click.option(_flag(name), default=one.default, show_default=True, help=one.about.help)


def _option(one: Option, *, hidden: bool, filed: bool) -> Decorator:
    """The click option of one option; None is what it gives where nothing is said."""
    said, shown = one.about, "" if one.is_required else _shown(one.default)
    flag, opposite = _flag(one.name), _flag(f"no_{one.name}")
    return click.option(
        f"{flag}/{opposite}" if filed and one.form is bool else flag,
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
    said, kind = one.about, one.holds
    offered = {} if said.offers is None else {"shell_complete": _completion(said.offers)}
    if kind is bool:
        return {"is_flag": True}
    if said.parse is not None:
        return {"callback": _parsed(said.parse), **offered}
    if said.several:
        return {"type": SeveralChoices(said), "multiple": True, "callback": _joined}
    if said.choices:
        return {"type": Choices(said)}
    if kind is int:
        return {"type": int if said.least is None else click.IntRange(said.least)}
    if kind is float:
        return {
            "type": float if said.above is None else click.FloatRange(said.above, min_open=True)
        }
    if kind is Path:
        return {"type": click.Path(path_type=Path), "multiple": one.form is tuple}
    return {"type": str, **offered}


def completed(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """The names that go on behind the last comma of what was typed; files where none does."""
    before, comma, last = incomplete.rpartition(",")
    found = [name for name in names if name.startswith(last)]
    if not found:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(f"{before}{comma}{name}") for name in found]


def _completion(offers: Callable[[], Iterable[str]]) -> Callable[..., list[CompletionItem]]:
    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return completed(offers(), incomplete)

    return complete


def argument(name: str, *, like: str) -> Decorator:
    """An argument of a command that a shell completes like an option of a study."""
    offers = options_of(StudyOptions)[like].about.offers
    return click.argument(name, shell_complete=offers and _completion(offers))


def _argument(one: Option, called: str) -> Decorator:
    """The click argument of one option; `called` so in the help."""
    offers = one.about.offers
    return click.argument(one.name, metavar=called, shell_complete=offers and _completion(offers))


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
