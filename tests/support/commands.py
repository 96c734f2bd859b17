"""Commands of `interp`, run inside the test's process."""

from click.testing import CliRunner

from interp.cli import cli
from interp.errors import InterpError


def outcome(*arguments: object) -> tuple[int, str]:
    """Exit code of a command, and what it prints on stdout or the error's message, as
    `interp.cli.main` would give them.
    """
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if isinstance(result.exception, InterpError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output if result.exit_code == 2 else result.stdout
