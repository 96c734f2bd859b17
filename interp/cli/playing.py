"""The command `play`: a page on this machine to read texts and steer sentences by hand."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from interp.cli.options import GroupedCommand, gathered
from interp.cli.printing import printable
from interp.cli.sentences import plain_model, read_asked
from interp.errors import UsageError
from interp.options import options_of
from interp.sentence_options import SentenceOptions
from interp.settings import ModelOptions

_LEFT_TO_THE_PAGE = ("emotion", "scale", "no_cache")
_OF_THE_PAGE = tuple(name for name in options_of(SentenceOptions) if name not in _LEFT_TO_THE_PAGE)


@click.command(cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_THE_PAGE, arguments={"model": "RUN|MODEL"})
@click.option("--port", type=click.IntRange(1, 65535), help="Of this machine; else a free one.")
@click.option("--open", "opened", is_flag=True, help="Open the page in a browser, too.")
def play(asked: SentenceOptions, port: int | None, opened: bool) -> None:
    """Read texts and steer sentences on a page of this machine (extra `play`).

    Of a finished RUN its model and its directions are taken. To a MODEL directions are fitted once,
    or taken from --direction or --run.

    \b
      interp play runs/demo
      interp play smollm2

    The page answers at 127.0.0.1 alone, at an address with a token that is printed, until Ctrl-C.
    """
    run = Path(asked.model) if (Path(asked.model) / "run.json").is_file() else None
    if run is not None:
        asked = _of_run(asked, run)
    asking = read_asked(asked)
    from interp.capture.workers.signals import ended_by_signals
    from interp.play import door

    door.check_extra()
    with door.listen(port) as there, ended_by_signals(lambda: "the page is closed."):
        from interp.play.answers import Answers

        desk = _desk(asked, asking, run)
        click.echo(f"interp: directions of {printable(desk.source(desk.layer).told)}.", err=True)
        click.echo("interp: the page answers until Ctrl-C, to who knows this address:", err=True)
        door.serve(lambda folder: Answers(desk, folder), there, told=click.echo, opened=opened)


def _of_run(asked: SentenceOptions, run: Path) -> SentenceOptions:
    """What is asked of a run: its own model, and its own directions."""
    named = [name for name in ("direction", "run", "stimuli") if getattr(asked, name) is not None]
    if asked.loading.dtype != ModelOptions().dtype:
        named.append("dtype")
    if named:
        raise UsageError(
            f"{run} is a run, with its own model, precision and directions: leave out "
            f"{' and '.join(f'--{name}' for name in named)}, or name a model."
        )
    from interp.study.reading.place import open_record

    return replace(asked, model=open_record(run).model, run=run)


def _desk(asked: SentenceOptions, asking: Any, run: Path | None) -> Any:
    """The model, loaded, and its directions."""
    from interp.play.desk import open_desk
    from interp.study.reading.place import open_model, open_record

    record = None if asked.run is None else open_record(asked.run)
    if run is None or record is None:
        model = plain_model(asked)
    else:
        where = {
            name: asdict(asked.loading)[name] for name in ("device", "chat_template", "offline")
        }
        model = open_model(record, **where)
    wanted, fitted = asking.wanted, asked.direction is None
    known = record.battery if record is not None else wanted.battery.name if fitted else ""
    return open_desk(model, wanted, asking.manner, layer=asked.layer, battery=known)


COMMANDS = (play,)
