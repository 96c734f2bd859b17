"""The study's commands: all stages by `run`, one question by each of the others, and the report
drawn again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from interp import stages
from interp.cli.options import study_options
from interp.cli.printing import printable, show
from interp.errors import UsageError


@click.command()
@study_options
def run(**settings: Any) -> None:
    """Every stage on one model and one battery; ends with the path of the report. Run again to
    resume.
    """
    _study(None, **settings)


@click.command("capture", help=stages.COMMANDS["capture"])
@study_options
@click.option(
    "--executor",
    default="serial",
    show_default=True,
    type=click.Choice(["serial", "processes", "ray"]),
    help="Who computes.",
)
@click.option(
    "--workers", type=click.IntRange(1), help="Workers of processes and ray; 2 if not given."
)
@click.option(
    "--shard", metavar="I/N", help="Be worker I of N (from 0) that share OUT, as in a Slurm array."
)
@click.option(
    "--repair",
    is_flag=True,
    help="Forget damaged shards first, so that only they are computed again.",
)
def capture(
    executor: str, workers: int | None, shard: str | None, repair: bool, **settings: Any
) -> None:
    """The command `capture`, which alone says who computes."""
    chosen = _executor(executor, workers, shard)
    if repair and (settings["dry_run"] or settings["new_run"]):
        raise UsageError(
            "--repair changes the capture in OUT: it goes neither with --dry-run nor with "
            "--new-run."
        )
    _study(("capture",), executor=chosen, repair=repair, **settings)


def _executor(executor: str, workers: int | None, shard: str | None) -> str:
    """The executor's text, as `interp.capture` reads it."""
    if shard is not None and (executor != "serial" or workers is not None):
        raise UsageError(
            "--shard I/N is one of N calls that share the work themselves: leave out --executor "
            "and --workers."
        )
    if executor == "serial" and workers is not None:
        raise UsageError(
            "--workers is for --executor processes or ray: serial is this process alone."
        )
    if shard is not None:
        return f"shard:{shard}"
    return executor if executor == "serial" else f"{executor}:{workers or 2}"


def _command(name: str) -> click.Command:
    """The command `name`, which runs its stages."""
    own = tuple(stage.name for stage in stages.STAGES if stage.command == name)

    @click.command(name, help=stages.COMMANDS[name])
    @study_options
    def command(**settings: Any) -> None:
        _study(own, **settings)

    return command


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
def report(out: Path) -> None:
    """Draw the figures of a run again and write OUT/report.html."""
    from interp import study

    click.echo(study.report(out))


def _study(
    names: tuple[str, ...] | None,
    *,
    dry_run: bool,
    new_run: bool,
    teraflops: float | None,
    as_json: bool,
    repair: bool = False,
    **settings: Any,
) -> None:
    from interp import study
    from interp.capture.store import upkeep

    arguments = study.Settings(**{key: value for key, value in settings.items() if value != ()})
    arguments = study.new_run(arguments) if new_run else arguments
    if dry_run:
        show(study.estimate(arguments, teraflops=teraflops), as_json=as_json)
        return
    if teraflops is not None:
        raise UsageError("--teraflops is for --dry-run, which it tells how fast the device is.")
    if repair:
        show(upkeep.repair(arguments.out / "activations"), as_json=False, err=as_json)
    summary = study.run(arguments, stages=names)
    if as_json:
        click.echo(json.dumps(summary, indent=1, default=str))
    else:
        for finding in summary["findings"]:
            click.echo(
                f"{finding['stage']}: {printable(finding['sentence'])} {finding['value']}".rstrip()
            )
        if names is None:
            _tell(summary)
        click.echo(summary["report"] or summary["out"])


def _tell(summary: Mapping[str, Any]) -> None:
    """What the run answers: its sentence, its badges, and how much there is to doubt."""
    click.echo(f"\n{printable(summary['answer']['sentence'])}\n")
    for badge in summary["answer"]["badges"]:
        layer = "" if badge["layer"] is None else f" (layer {badge['layer']})"
        click.echo(f"  {badge['question']}: {badge['says']}{layer}")
    doubts = len(summary["warnings"]) + len(summary["cautions"])
    click.echo(f"\n{doubts} cautions stand beside their numbers in the report.\n")


COMMANDS = (
    run,
    capture,
    *(_command(name) for name in stages.COMMANDS if name != capture.name),
    report,
)
