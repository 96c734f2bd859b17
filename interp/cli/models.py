"""Commands about a model alone: what it offers, whether that can be trusted, what the methods find
where all is known.
"""

import sys
from pathlib import Path
from typing import Any

import click

from interp.cli.loading import load_model
from interp.cli.options import argument, as_json, gathered, seed
from interp.cli.printing import printable, show, show_json
from interp.defaults import CALIBRATIONS
from interp.files import make_folder, write_atomic
from interp.settings import ModelOptions


@click.command()
@argument("model", like="model")
@gathered(ModelOptions, into="how", only=("offline", "device", "dtype"))
@as_json
def doctor(model: str, how: ModelOptions, as_json: bool) -> None:
    """Check that a model's sites can be trusted, in the precision that will be run; exit code 1
    when a check fails.
    """
    loaded = load_model(
        model,
        device=how.device,
        dtype=how.dtype,
        offline=how.offline,
        check=False,
        chat_template="off",
    )
    from interp.models.checks.doctor import examine

    checks = examine(loaded, thorough=True)
    show(checks, as_json=as_json)
    sys.exit(0 if all(check["passed"] for check in checks) else 1)


@click.command()
@argument("model", like="model")
@gathered(ModelOptions, into="how", only=("offline", "device"))
@as_json
def sites(model: str, how: ModelOptions, as_json: bool) -> None:
    """List the sites a model offers, with their shapes."""
    loaded = load_model(model, device=how.device, offline=how.offline, chat_template="off")
    show(loaded.sites(), as_json=as_json)


@click.command()
@seed
@as_json
def truth(seed: int, as_json: bool) -> None:
    """Run every method on models whose circuit is known, and say how much of it each recovers."""
    from interp.evaluation.truth import check_truth

    show(check_truth(seed=seed), as_json=as_json)


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--runs",
    type=click.IntRange(1),
    default=CALIBRATIONS,
    show_default=True,
    help="Data sets of each check.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for calibration.csv and its figure."
)
@seed
@as_json
def calibrate(
    names: tuple[str, ...], runs: int, out: Path | None, seed: int, as_json: bool
) -> None:
    """How often p rejects where there is nothing, and 95 % intervals hold the truth: the checks
    whose name holds one of NAMES, or all (minutes).
    """
    from interp.evaluation.calibration import calibrate

    rows = calibrate(runs=runs, seed=seed, names=names)
    if out is not None:
        _keep(rows, make_folder(out))
    show(rows, as_json=as_json)


def _keep(rows: list[dict[str, Any]], out: Path) -> None:
    """Write the rows as calibration.csv, and the figure that is drawn from it."""
    import pandas as pd

    from interp.reporting.calibrated import calibration
    from interp.reporting.figures import as_bytes

    table = pd.DataFrame(rows)
    write_atomic(out / "calibration.csv", table.to_csv(index=False, lineterminator="\n").encode())
    figure = calibration(table.astype({"measured": float}))
    for form in ("svg", "png"):
        write_atomic(out / f"calibration.{form}", as_bytes(figure, form))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def env(as_json: bool) -> None:
    """Say what a bug report needs: versions, platform, threads, devices, model packages."""
    from interp.models.environment import environment

    facts = environment()
    if as_json:
        show_json(facts)
        return
    widest = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{widest}}  {printable(value)}")


COMMANDS = (doctor, sites, truth, calibrate, env)
