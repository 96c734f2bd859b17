"""The command that sets finished runs beside each other."""

from pathlib import Path

import click

from interp.cli.options import as_json, seed
from interp.cli.printing import printable, show, show_json


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Where the comparison goes."
)
@click.option(
    "--maps/--no-maps",
    default=None,
    help="Compare the spaces, too; by default where the runs read the same texts.",
)
@seed
@as_json
def compare(runs: tuple[Path, ...], out: Path, maps: bool | None, seed: int, as_json: bool) -> None:
    """Finished runs beside each other: curves by relative depth, verdicts, and their spaces.

    The first run is the one that the others are compared with. Base against instruct, unsteered
    against steered, or any other models on the same texts.

    \b
    Example:
      interp compare runs/base runs/instruct --out runs/compared
    """
    from interp.study.compare import compare_runs

    found = compare_runs(runs, out=out, maps=maps, seed=seed)
    if as_json:
        show_json(found)
        return
    for note in found["notes"]:
        click.echo(printable(note))
    show(found["verdicts"], as_json=False)
    mapped = [row for row in found["rows"] if row["metric"] in ("map_r2", "carried_auroc")]
    told = ("first", "second", "metric", "task", "method", "fitted_on", "value", "ci_low")
    if mapped:
        rows = [{name: row.get(name, "") for name in (*told, "ci_high")} for row in mapped]
        show(rows, as_json=False)
    click.echo(found["report"])


COMMANDS = (compare,)
