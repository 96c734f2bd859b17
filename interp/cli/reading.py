"""The command `read`: any texts, token by token, along the directions of a finished run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from interp.cli.options import GroupedCommand, as_json, gathered, options
from interp.cli.printing import printable, show, show_json
from interp.common_options import split
from interp.errors import UsageError
from interp.files import write_atomic
from interp.settings import ModelOptions

_SHOWN = 400
"""Rows that are printed for people; --json and --out give all of them."""

_WHAT = options(
    click.option("--text", "given", multiple=True, help="A text to read; may be given again."),
    click.option("--column", default="text", show_default=True, help="FILE's column of texts."),
    click.option("--emotion", help="Emotions between commas; all of the run's if not given."),
    click.option("--layer", type=int, help="A layer of the run; its own choice if not given."),
)
_HOW = options(
    click.option(
        "--by",
        type=click.Choice(["token", "turn", "text"]),
        default="token",
        show_default=True,
        help="What a row is. Turns and texts are read at their last token.",
    ),
    click.option(
        "--too-long",
        type=click.Choice(["stop", "skip", "left", "right"]),
        default="stop",
        show_default=True,
        help="What becomes of a text longer than the context: an error, left out, or cut there.",
    ),
    click.option("--allow-special", is_flag=True, help="Accept special tokens in texts."),
    click.option("--model", help="Where the run's model lies now, if it lies elsewhere."),
)
_WHERE = options(
    click.option("--top", type=click.IntRange(1), help="The N rows that carry an emotion most."),
    click.option(
        "--out", type=click.Path(path_type=Path), help="A .csv, .jsonl or .parquet; resumes."
    ),
    click.option(
        "--html", type=click.Path(path_type=Path), help="Write a heat map over tokens there."
    ),
)


@click.command(cls=GroupedCommand)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", required=False)
@_WHAT
@_HOW
@gathered(ModelOptions, into="loading", only=("device", "chat_template", "offline"))
@_WHERE
@as_json
def read(run: Path, loading: ModelOptions, **said: Any) -> None:
    """How any texts read along the emotion directions of a finished RUN, in calibrated units.

    FILE is a data set (.jsonl, .csv or .tsv, whose rows have a text or `messages`), a .txt with a
    text per line, or - for stdin. What is large goes into --out, row by row; the same command
    resumes it.

    \b
      interp read runs/demo --text "She opened the letter." --html letter.html
      interp read runs/demo reviews.csv --by text --top 10 --out readings.parquet
    """
    _refuse(**said)
    from interp.study import reading
    from interp.study.reading.place import find_place, open_model, open_record
    from interp.study.reading.texts import RowSource, numbered_texts

    source = None if said["file"] is None else RowSource(said["file"], said["column"])
    record, emotions = open_record(run), split(said["emotion"] or "")
    place = find_place(run, emotions=emotions, layer=said["layer"])
    where = {name: getattr(loading, name) for name in ("device", "chat_template", "offline")}
    model = open_model(record, model=said["model"], **where)
    click.echo(f"interp: read along {printable(place.told)}.", err=True)
    click.echo(f"interp: {place.units}", err=True)
    how = reading.How(said["by"], said["too_long"], said["allow_special"])
    job = reading.Job(model, place, how, top=said["top"])
    if said["out"] is not None and source is not None:
        about = {"run": record.run, "model": model.provenance.get("digest")}
        found = reading.read_file(job, source, said["out"], asked=about)
    else:
        found = reading.read_rows_of(
            job, numbered_texts(said["given"]) if source is None else source.rows()
        )
    for line in found.told:
        click.echo(f"interp: warning: {printable(line)}", err=True)
    if said["html"] is not None:
        write_atomic(said["html"], found.html().encode())
    _print(found, said)


def _refuse(**said: Any) -> None:
    """Raise `UsageError` for options that do not go together, before anything is loaded."""
    if (said["file"] is None) == (not said["given"]):
        raise UsageError("what is to be read? Name one FILE (- for stdin), or say --text TEXT.")
    if said["out"] is not None and said["file"] is None:
        raise UsageError("--out is for a FILE of texts: it resumes. --json prints a few texts.")
    if said["html"] is None:
        return
    if said["by"] != "token" or said["out"] is not None or said["top"] is not None:
        raise UsageError("--html shows every token of a few texts: leave out --by, --out, --top.")


def _print(found: Any, said: Mapping[str, Any]) -> None:
    """The rows (of --top, or all of a few texts), and which files were written."""
    written = [str(path) for path in (said["out"], said["html"]) if path is not None]
    if said["as_json"]:
        facts = {"place": found.place.facts(), "rows": found.n, "files": written}
        show_json({**facts, "told": found.told, "readings": found.rows()})
        return
    rows = found.by_emotion()
    show(rows[:_SHOWN], as_json=False)
    if len(rows) > _SHOWN:
        click.echo(f"interp: {len(rows) - _SHOWN} more rows: --json, or --out.", err=True)
    for path in written:
        click.echo(path)


COMMANDS = (read,)
