"""Settings out of a file, for the commands of a study: `--config`, `--registration` and
`--print-config`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from interp.cli.options import FROM_FILE, Command, FromFile, GroupedOption
from interp.cli.printing import printable
from interp.errors import UsageError
from interp.options import Option
from interp.settings import StudyOptions

FILE_OPTIONS = ("config", "registration", "print_config")
"""The options that this module adds to a command."""


@dataclass(frozen=True, slots=True)
class Given:
    """The file that settings came from, if they came from one, and whether they are only printed.

    `config` is an `interp.study.config.Config`, `registration` an
    `interp.study.registration.Registration`.
    """

    config: Any = None
    registration: Any = None
    print_config: bool = field(default=False)

    def check(self, asked: StudyOptions) -> None:
        """Raise `UsageError` where the texts of a finished study have changed since. Claims that
        nobody sealed are told of: they count for nothing.
        """
        if self.config is None:
            return
        from interp.study.config import refuse_other_texts

        refuse_other_texts(self.config, asked)
        if self.config.claims:
            path = self.config.path
            told = f"the claims in {path} are not registered: `interp register {path}` does that."
            click.echo(f"interp: {printable(told)}", err=True)


def files_of_settings(known: Mapping[str, Option]) -> Callable[[Command], Command]:
    """The options that name a file of settings; the command gets what they say as `given`.

    `known` are the options that may stand in the file.
    """

    def read_open(context: click.Context, parameter: click.Parameter, path: Path | None) -> Any:
        if path is None:
            return None
        from interp.study.config import read_settings_file

        found = read_settings_file(path, known)
        _keep(context, FromFile(found.values, found.lacks))
        return found

    def read_sealed(context: click.Context, parameter: click.Parameter, path: Path | None) -> Any:
        if path is None:
            return None
        from interp.study.registration import read_registration

        found = read_registration(path)
        _keep(context, FromFile(found.settings))
        return found

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gather(**values: Any) -> Any:
            said = {name: values.pop(name) for name in FILE_OPTIONS}
            return command(given=Given(**said), **values)

        taking: Command = gather
        for option in (
            click.option(
                "--print-config",
                is_flag=True,
                cls=GroupedOption,
                help="Print the settings that this call comes to, as a TOML file, and do no more.",
            ),
            _file_option(
                "--registration",
                read_sealed,
                "A sealed file of `interp register`: its settings are used, and its claims are "
                "held against what is found.",
            ),
            _file_option(
                "--config",
                read_open,
                "Settings from a TOML file, or from the run.json of a finished run. What is said "
                "here wins; every flag has an opposite, such as --no-strict.",
            ),
        ):
            taking = option(taking)
        return taking

    return decorate


def _file_option(name: str, read: Callable[..., Any], told: str) -> Callable[[Command], Command]:
    """An option that is read before the others, since it says what they are by default."""
    kind = click.Path(path_type=Path)
    return click.option(name, type=kind, cls=GroupedOption, is_eager=True, callback=read, help=told)


def _keep(context: click.Context, found: FromFile) -> None:
    if FROM_FILE in context.meta:
        raise UsageError("--registration has its own settings: leave out --config.")
    context.meta[FROM_FILE] = found
