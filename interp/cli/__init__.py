"""The command line: one command per question. A command reads its options, calls its room, and
prints.

Tables and JSON go to stdout, progress and warnings to stderr; an error of ours becomes one line and
its exit code (0 done, 1 our bug, 2 usage, 3 stimuli or data, 4 artefact, 5 resource, 6 statistics,
75 try again, 130/143 stopped). Rooms are imported by the command that calls them, when it is
called: `interp --help` waits for none of them.
"""

import atexit
import gc
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import NoReturn, TextIO

import click

import interp
from interp.cli import (
    captures,
    circuits,
    comparing,
    dissection,
    exporting,
    features,
    models,
    playing,
    prompting,
    reading,
    registration,
    sentences,
    stimuli,
    stories,
    study,
    trials,
)
from interp.cli.printing import printable, show_warning
from interp.errors import InterpError, ResourceError

COMMANDS = (
    *study.COMMANDS,
    *registration.COMMANDS,
    *sentences.COMMANDS,
    *playing.COMMANDS,
    *exporting.COMMANDS,
    *reading.COMMANDS,
    *circuits.COMMANDS,
    *dissection.COMMANDS,
    *trials.COMMANDS,
    *prompting.COMMANDS,
    *captures.COMMANDS,
    *comparing.COMMANDS,
    *features.COMMANDS,
    *stories.COMMANDS,
    *models.COMMANDS,
    *stimuli.COMMANDS,
)


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(interp.__version__, prog_name="interp")
def cli() -> None:
    """Does a language model represent emotion, or only the words for it? Where, and does it act on
    it?

    \b
    The whole study in one line:
      interp run --model storyworld --stimuli storyworld --out runs/demo
    A sentence, steered:
      interp steer --model smollm2 --emotion joy --prompt "When I got home, I"
    """


OBJECTS_BETWEEN_SEARCHES = 10_000
"""New objects between two searches for such as hold only each other. Python's own 700 are a few
lines of an import, and what is imported is a million objects that stay: a command that opens a
model takes a sixth less time to start.
"""


def main() -> None:
    """Entry point of `interp`: run the command; turn errors of ours into one line on stderr and an
    exit code.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # Threads that wait for each other must sleep: those that spin take the cores from whoever else
    # works here (two such processes do a third of the work). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = show_warning  # type: ignore[assignment]
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES)
    # What is left at the end is not searched for what can be freed: all of it is.
    atexit.register(gc.freeze)
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InterpError as error:
        click.echo(f"interp: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        _leave_refused(error)
    except (ImportError, AttributeError, TypeError) as error:
        _leave_untried(error)
    except (click.Abort, KeyboardInterrupt):
        # work that keeps its parts says so itself (`Interrupted`)
        click.echo("interp: stopped; what was not written yet is lost.", err=True)
        sys.exit(128 + signal.SIGINT)


def _leave_untried(error: Exception) -> NoReturn:
    """Say in one line that a library has another inside than interp knows, where its version was
    not tried; raise the error again where it was: then it is a fault of ours.
    """
    from interp.models.checks.versions import told_as_versions

    told = told_as_versions(error)
    if told is None:
        raise error
    click.echo(f"interp: {printable(str(told))}", err=True)
    sys.exit(told.exit_code)


def _leave_refused(error: OSError) -> NoReturn:
    """Say what the machine refused, in one line: a file, or else stdout itself (a full disk)."""
    if error.filename is not None:
        what = f"cannot use {error.filename}"
    else:
        what = "cannot print the result" if _is_stuck(sys.stdout) else "the machine refuses"
    with suppress(OSError):  # stderr may lie on the same disk
        reason = printable(f"{what}: {error.strerror or error}.")
        click.echo(f"interp: {reason} What was finished is kept.", err=True)
    # What they still hold would be tried again at the very end, with a traceback.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    sys.exit(ResourceError.exit_code)


def _is_stuck(stream: TextIO) -> bool:
    """Whether a stream takes nothing more. An unbuffered one holds nothing: only a line tells."""
    try:
        print(file=stream, flush=True)
    except OSError:
        return True
    return False
