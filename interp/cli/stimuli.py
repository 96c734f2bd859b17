"""The group `stimuli`: batteries listed, shown, converted, audited, and tried on a model."""

import sys
from pathlib import Path

import click

from interp.cli.loading import load_model
from interp.cli.options import argument, as_json, gathered, seed, texts
from interp.cli.printing import printable, show, show_json
from interp.errors import DataError, UsageError
from interp.settings import ModelOptions, TextOptions


@click.group()
def stimuli() -> None:
    """Batteries of texts: list, show, convert, audit, try on a model."""


@stimuli.command("list")
@as_json
def list_stimuli(as_json: bool) -> None:
    """The batteries in the package, with their sizes."""
    import stimuli as batteries

    loaded = [batteries.load(name) for name in batteries.names()]
    show(
        (
            {"name": b.name, "items": len(b), "pairs": len(b.pairs()), "emotions": len(b.emotions)}
            for b in loaded
        ),
        as_json=as_json,
    )


@stimuli.command("show")
@argument("battery", like="stimuli")
@click.option("--most", default=5, show_default=True, help="How many items.")
@texts
@as_json
def show_stimuli(battery: str, most: int, reading: TextOptions, as_json: bool) -> None:
    """The first items of a battery."""
    items = reading.read(battery).items[:most]
    show(
        (
            {"id": i.id, "emotion": i.emotion, "arm": i.arm, "pair": i.pair, "text": i.text}
            for i in items
        ),
        as_json=as_json,
    )


@stimuli.command("convert")
@argument("battery", like="stimuli")
@click.argument("target", type=click.Path(path_type=Path))
@texts
def convert_stimuli(battery: str, target: Path, reading: TextOptions) -> None:
    """Write any readable battery as interp's own JSONL (or CSV, by TARGET's ending)."""
    import stimuli as batteries

    if target.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"cannot write {target.name}: the target must end in .jsonl or .csv.")
    batteries.save(reading.read(battery), target)
    click.echo(target)


@stimuli.command("audit")
@argument("battery", like="stimuli")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for audit.csv, audit.svg and audit.png."
)
@seed
@texts
@as_json
def audit_stimuli(
    battery: str, out: Path | None, seed: int, reading: TextOptions, as_json: bool
) -> None:
    """Put a battery through the gate: do its words alone give the answer away? Exit code 3 when a
    rule fails.
    """
    asked = reading.read(battery)
    from interp.study import audit

    result = audit.audit_battery(asked, seed=seed)
    if as_json:
        show_json(audit.content(result))
    else:
        show((rule.row() for rule in result.rules), as_json=False)
        show(result.baselines, as_json=False)
    for line in [
        *(audit.write_audit(result, out, seed=seed) if out else ()),
        *audit.verdict(result),
    ]:
        click.echo(printable(str(line)), err=True)
    sys.exit(0 if result.passed else DataError.exit_code)


@stimuli.command("power")
@argument("model", like="model")
@argument("battery", like="stimuli")
@gathered(ModelOptions, into="how")
@seed
@texts
@as_json
def power_stimuli(
    model: str,
    battery: str,
    how: ModelOptions,
    seed: int,
    reading: TextOptions,
    as_json: bool,
) -> None:
    """Is there something to show? How much likelier MODEL finds the words of an emotion after a
    text of BATTERY than after its neutral twin, by dose, and how many scenarios a causal stage
    needs.
    """
    asked = reading.read(battery)
    if not asked.doses():
        raise UsageError(
            f"battery {asked.name!r} has no twins: total effects are differences of twins."
        )
    loaded = load_model(
        model,
        device=how.device,
        dtype=how.dtype,
        offline=how.offline,
        chat_template=how.chat_template,
    )
    from interp.study.power import power_rows, told

    rows = power_rows(loaded, asked, seed=seed)
    show(rows, as_json=as_json)
    for line in told(rows):
        click.echo(printable(line), err=True)


COMMANDS = (stimuli,)
