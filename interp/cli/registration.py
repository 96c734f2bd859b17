"""The commands that say beforehand what a study will ask: `claims` lists what a report can claim,
`register` seals some of it.
"""

from pathlib import Path

import click

from interp.cli.options import as_json
from interp.cli.printing import printable, show, show_json
from interp.cli.study import KNOWN_IN_FILES


@click.command()
@as_json
def claims(as_json: bool) -> None:
    """All claims that a report can make, by the names that `register` takes."""
    from interp.reporting.claims import CLAIMS

    if as_json:
        show(({"claim": name} for name in CLAIMS), as_json=True)
        return
    for name in CLAIMS:
        click.echo(name)


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@as_json
def register(config: Path, as_json: bool) -> None:
    """Seal the settings and the claims of the TOML file CONFIG, before anything is looked at.

    \b
    Writes NAME.registration.json beside it. Then:
      interp run --registration NAME.registration.json
    """
    from interp.study.config import read_settings_file

    asked = read_settings_file(config, KNOWN_IN_FILES)
    from interp import study

    made = study.register(asked)
    if as_json:
        told = {"registration": str(made.path), "sha256": made.sha256, **made.content}
        show_json(told)
        return
    for mark in asked.claims:
        click.echo(f"{mark.told}: {printable(mark.claim)}")
    click.echo(f"sha256 {made.sha256}: publish it before the study is run.")
    click.echo(made.path)


COMMANDS = (register, claims)
