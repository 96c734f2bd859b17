"""The study's commands: all stages by `run`, one question by each of the others, and the report
drawn again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import click

from interp.cli.loading import refuse_unknown
from interp.cli.options import Command, GroupedCommand, gathered, options
from interp.cli.printing import printable, show
from interp.cli.side_by_side import show_texts
from interp.errors import UsageError
from interp.options import about, flat
from interp.settings import StudyOptions
from interp.stages import STAGE_COMMANDS, STAGES, StageCommand

METHOD_OPTIONS = frozenset(
    {
        "folds",
        "probe",
        "analyse_by",
        "direction",
        "pairs",
        "ablate_with",
        "attribute_with",
        "steps",
        "judge",
        "seed",
    }
)
"""Settings that only some stages use. The help of the other stages leaves them out; every stage
takes them, since commands that share a folder agree in all settings.
"""

RUN = StageCommand(
    "Every stage on one model and one battery; ends with the path of the report. Run again to "
    "resume.",
    uses=tuple(sorted(METHOD_OPTIONS)),
)

_ASKED = "--model storyworld --stimuli storyworld --out runs/demo"
_SHARED = "Settings of other stages are taken, too: see `interp run --help`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How one call goes about its work; nothing of it is kept in the run."""

    GROUP: ClassVar[str] = "Command"

    new_run: bool = field(
        default=False,
        metadata=about(
            "If OUT holds a run with other settings, begin one beside it: OUT-2, OUT-3, ..."
        ),
    )
    dry_run: bool = field(
        default=False,
        metadata=about("Say what would be done and how much it is; compute nothing."),
    )
    measure: bool = field(
        default=False,
        metadata=about(
            "With --dry-run: load the model, run a sample, and say how long each stage will take."
        ),
    )
    teraflops: float | None = field(
        default=None, metadata=about("With --dry-run: what the device reaches.", above=0)
    )
    as_json: bool = field(default=False, metadata=about("Print JSON on stdout.", name="json"))


def study_command(name: str, known: StageCommand) -> Callable[[Command], click.Command]:
    """The command `name`, which gets what is `asked` of a study, and how to `call` it.

    Of `METHOD_OPTIONS` its help shows those that it uses.
    """
    hidden = METHOD_OPTIONS.difference(known.uses)
    taken = options(
        gathered(StudyOptions, into="asked", hidden=hidden),
        gathered(Call, into="call"),
    )
    text = f"{known.told}\n\n\b\nExample:\n  interp {name} {_ASKED} {known.example}"

    def decorate(command: Command) -> click.Command:
        made = click.command(
            name, cls=GroupedCommand, help=text, epilog=_SHARED if hidden else None
        )
        return made(taken(command))

    return decorate


@study_command("run", RUN)
def run(asked: StudyOptions, call: Call) -> None:
    """Every stage."""
    _study(None, asked, call)


@study_command("capture", STAGE_COMMANDS["capture"])
@click.option("--executor", type=click.Choice(["serial", "processes", "ray"]), help="Who computes.")
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
    asked: StudyOptions,
    call: Call,
    executor: str | None,
    workers: int | None,
    shard: str | None,
    repair: bool,
) -> None:
    """The command `capture`, which alone says who computes."""
    how = asked.capture
    chosen = replace(how, executor=_executor(executor or how.executor, workers, shard))
    if repair and (call.dry_run or call.new_run):
        raise UsageError(
            "--repair changes the capture in OUT: it goes neither with --dry-run nor with "
            "--new-run."
        )
    _study(("capture",), replace(asked, capture=chosen), call, repair=repair)


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
    own = tuple(stage.name for stage in STAGES if stage.command == name)

    @study_command(name, STAGE_COMMANDS[name])
    def command(asked: StudyOptions, call: Call) -> None:
        """Some stages."""
        _study(own, asked, call)

    return command


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
def report(out: Path) -> None:
    """Draw the figures of a run again and write OUT/report.html."""
    from interp import study

    click.echo(study.report(out))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where to; by default RUN/figures, or RUN/paper with --width or --no-titles.",
)
@click.option("--pdf", is_flag=True, help="Write a PDF beside each SVG and PNG.")
@click.option("--width", metavar="WIDTH", help="How wide each figure is: 3.3in, 84mm or 8.4cm.")
@click.option(
    "--no-titles",
    is_flag=True,
    help="Leave titles and captions to the paper; the foot line stays.",
)
def figures(run: Path, out: Path | None, pdf: bool, width: str | None, no_titles: bool) -> None:
    """Draw the figures of a finished run again, from its tables, as a paper wants them.

    \b
    Example:
      interp figures runs/demo --pdf --width 3.3in --no-titles
    """
    from interp.reporting.figures import FILE_KINDS
    from interp.reporting.form import Form, read_width
    from interp.reporting.report import redraw

    form = Form(width=None if width is None else read_width(width), titles=not no_titles)
    for path in redraw(run, out, form=form, kinds=(*FILE_KINDS, "pdf") if pdf else FILE_KINDS):
        click.echo(path)


def _study(
    names: tuple[str, ...] | None,
    asked: StudyOptions,
    call: Call,
    *,
    repair: bool = False,
) -> None:
    """Run these stages of what was asked, or all of them, or say what that would be."""
    refuse_unknown(asked)
    from interp import study
    from interp.capture.store import upkeep

    settings = study.Settings.of(**flat(asked))
    settings = study.new_run(settings) if call.new_run else settings
    if call.dry_run:
        planned = study.estimate(settings, teraflops=call.teraflops, measured=call.measure)
        show(planned, as_json=call.as_json)
        return
    if call.measure:
        raise UsageError("--measure is for --dry-run, which it tells how long each stage takes.")
    if call.teraflops is not None:
        raise UsageError("--teraflops is for --dry-run, which it tells how fast the device is.")
    if repair:
        show(upkeep.repair(settings.out / "activations"), as_json=False, err=call.as_json)
    summary = study.run(settings, stages=names)
    if call.as_json:
        click.echo(json.dumps(summary, indent=1, default=str))
    else:
        for finding in summary["findings"]:
            click.echo(
                f"{finding['stage']}: {printable(finding['sentence'])} {finding['value']}".rstrip()
            )
        if names is None or "steering" in names:
            show_texts(summary["texts"])
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
    *(_command(name) for name in STAGE_COMMANDS if name != capture.name),
    report,
    figures,
)
