"""Every error that interp raises on purpose: one class per exit code.

The command line turns the class into the process's exit code, so a script can tell "your file is
wrong" from "the disk is full" without reading the message. The message itself names the row, file
or field, what was expected, and the fix.
"""


class InterpError(Exception):
    """Root of all errors of interp. `exit_code` is what the command line exits with."""

    exit_code: int = 1


class InternalError(InterpError):
    """A bug of ours: a self-check failed, a hook was left behind, an invariant does not hold. Exit
    code 1.
    """

    exit_code = 1


class UsageError(InterpError):
    """The request itself is wrong: an unknown site, model, option or value. Exit code 2."""

    exit_code = 2


class DataError(InterpError):
    """Bad stimuli or bad numbers: a broken row, an unmatched pair, a non-finite activation. Exit
    code 3.
    """

    exit_code = 3


class ArtefactError(InterpError):
    """A file that is corrupt, not to be trusted, or made for something else. Exit code 4."""

    exit_code = 4


class ResourceError(InterpError):
    """Disk, memory, permission or network: the request is fine and the machine cannot serve it.
    Exit code 5.
    """

    exit_code = 5


class StatisticsError(InterpError):
    """A request that no statistics can answer, such as a probe on one class. Exit code 6."""

    exit_code = 6


class BusyError(InterpError):
    """Temporary: another process holds the run. The same command will work later. Exit code 75."""

    exit_code = 75


class Interrupted(InterpError):
    """A signal asked us to stop; what was finished is kept. Exit code 130 (Ctrl-C) or 143
    (SIGTERM).
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
