"""Commands about what is on disk: check a capture, copy it into one file, say what any artefact
holds.
"""

import sys
from pathlib import Path

import click

from interp.cli.loading import load_model
from interp.cli.options import as_json, gathered
from interp.cli.printing import show
from interp.defaults import RECOMPUTED
from interp.errors import ArtefactError
from interp.settings import ModelOptions


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--recompute",
    default=RECOMPUTED,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of texts to compute again, alone.",
)
@click.option("--model", help="The model to compute them with; without it only files are checked.")
@gathered(ModelOptions, into="how", only=("chat_template", "offline", "device"))
@as_json
def verify(
    path: Path, recompute: float, model: str | None, how: ModelOptions, as_json: bool
) -> None:
    """Check every shard of a capture, and a sample of texts computed again, in the precision of the
    capture; exit code 4 when something is wrong.
    """
    from interp.capture.store.upkeep import captured_dtype
    from interp.capture.verify import verify as verify_capture

    loaded = None
    if model is not None:
        loaded = load_model(
            model,
            device=how.device,
            dtype=captured_dtype(path),
            offline=how.offline,
            chat_template=how.chat_template,
        )
    checks = verify_capture(path, recompute=recompute, model=loaded)
    show(checks, as_json=as_json)
    sys.exit(0 if all(check["passed"] for check in checks) else ArtefactError.exit_code)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--layers",
    is_flag=True,
    help="Of a capture: the largest magnitude and the mean norm at every site.",
)
@as_json
def inspect(path: Path, layers: bool, as_json: bool) -> None:
    """Say what an artefact holds: a run, a store of activations, a direction, a table."""
    if layers:
        from interp.capture.store.upkeep import layer_rows

        show(layer_rows(path), as_json=as_json)
        return
    from interp.study.artefacts import describe

    show(describe(path), as_json=as_json)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def export(path: Path, target: Path) -> None:
    """Copy a capture into one HDF5 file."""
    from interp.capture.store.export import export_hdf5

    click.echo(export_hdf5(path, target))


COMMANDS = (verify, inspect, export)
