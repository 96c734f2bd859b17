"""The study's commands: all stages by `run`, one question by each of the others, and the report
drawn again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import click

from interp.cli.loading import refuse_unknown
from interp.cli.options import Command, GroupedCommand, gathered, options
from interp.cli.printing import printable, show, show_json
from interp.cli.settings_file import Given, files_of_settings
from interp.cli.side_by_side import show_texts
from interp.errors import UsageError
from interp.options import about, flat, options_of
from interp.settings import StudyOptions
from interp.stages import STAGE_COMMANDS, STAGES, StageCommand

METHOD_OPTIONS = frozenset(
    {
        "folds",
        "probe",
        "beside",
        "targets",
        "soft",
        "across",
        "graded_probe",
        "control_model",
        "analyse_by",
        "direction",
        "pairs",
        "ablate_with",
        "patch_modes",
        "patch_positions",
        "patch_controls",
        "patch_metrics",
        "attribute_with",
        "steps",
        "dtype_error",
        "optimal_circuits",
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


KNOWN_IN_FILES = options_of(StudyOptions) | options_of(Call)
"""The options that may stand in a file of settings."""


def study_command(name: str, known: StageCommand) -> Callable[[Command], click.Command]:
    """The command `name`, which gets what is `asked` of a study, and how to `call` it.

    Of `METHOD_OPTIONS` its help shows those that it uses.
    """
    hidden = METHOD_OPTIONS.difference(known.uses)
    taken = options(
        gathered(StudyOptions, into="asked", hidden=hidden, filed=True),
        gathered(Call, into="call", filed=True),
        files_of_settings(KNOWN_IN_FILES),
    )
    text = f"{known.told}\n\n\b\nExample:\n  interp {name} {_ASKED} {known.example}"

    def decorate(command: Command) -> click.Command:
        made = click.command(
            name, cls=GroupedCommand, help=text, epilog=_SHARED if hidden else None
        )
        return made(taken(command))

    return decorate


@study_command("run", RUN)
def run(asked: StudyOptions, call: Call, given: Given) -> None:
    """Every stage."""
    _study(None, asked, call, given)


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
    executor: str | None,
    workers: int | None,
    shard: str | None,
    repair: bool,
    **asking: Any,
) -> None:
    """The command `capture`, which alone says who computes."""
    asked, call = asking["asked"], asking["call"]
    how = asked.capture
    if executor or workers or shard:
        how = replace(how, executor=_executor(executor or "serial", workers, shard))
    if repair and (call.dry_run or call.new_run):
        raise UsageError(
            "--repair changes the capture in OUT: it goes neither with --dry-run nor with "
            "--new-run."
        )
    _study(("capture",), replace(asked, capture=how), call, asking["given"], repair=repair)


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
    def command(asked: StudyOptions, call: Call, given: Given) -> None:
        """Some stages."""
        _study(own, asked, call, given)

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
    help="Where to; by default RUN/figures, or RUN/paper with --width, --no-titles or --published.",
)
@click.option("--pdf", is_flag=True, help="Write a PDF beside each SVG and PNG.")
@click.option("--width", metavar="WIDTH", help="How wide each figure is: 3.3in, 84mm or 8.4cm.")
@click.option(
    "--no-titles",
    is_flag=True,
    help="Leave titles and captions to the paper; the foot line stays.",
)
@click.option(
    "--published",
    is_flag=True,
    help="Mark published values, of other texts and models, where there are any.",
)
def figures(
    run: Path, out: Path | None, pdf: bool, width: str | None, no_titles: bool, published: bool
) -> None:
    """Draw the figures of a finished run again, from its tables, as a paper wants them.

    RUN may be the folder of a command beside it, too: of `interp framings`, `dissect` and their
    kind.

    \b
    Example:
      interp figures runs/demo --pdf --width 3.3in --no-titles
    """
    from interp.reporting.figures import FILE_KINDS
    from interp.reporting.form import Form, read_width
    from interp.reporting.report import redraw

    inches = None if width is None else read_width(width)
    form = Form(width=inches, titles=not no_titles, published=published)
    for path in redraw(run, out, form=form, kinds=(*FILE_KINDS, "pdf") if pdf else FILE_KINDS):
        click.echo(path)


def _study(
    names: tuple[str, ...] | None,
    asked: StudyOptions,
    call: Call,
    given: Given,
    *,
    repair: bool = False,
) -> None:
    """Run these stages of what was asked, or all of them, or say what that would be."""
    refuse_unknown(asked)
    if given.print_config:
        _print_config(asked)
        return
    given.check(asked)
    from interp import study
    from interp.capture.store import upkeep

    settings = study.Settings.of(**flat(asked))
    if given.registration is not None:
        given.registration.refuse_other(settings, settings.read_battery())
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
    summary = study.run(settings, stages=names, registration=given.registration)
    if call.as_json:
        show_json(summary)
    else:
        for finding in summary["findings"]:
            click.echo(_told(finding, registered=summary["registration"] is not None))
        if names is None or "steering" in names:
            show_texts(summary["texts"])
        if names is None:
            _tell(summary)
        if summary["registration"] is not None:
            from interp.reporting.registered import told_outcomes

            click.echo(told_outcomes(summary["registration"]["claims"]))
        click.echo(summary["report"] or summary["out"])


def _print_config(asked: StudyOptions) -> None:
    from interp.study.settings_text import config_text

    click.echo(config_text(asked), nl=False)


def _told(finding: Mapping[str, Any], *, registered: bool) -> str:
    """A finding as a line; in a registered run with what became of its claim."""
    mark = f" [{_mark(finding)}]" if registered else ""
    line = f"{finding['stage']}{mark}: {printable(finding['sentence'])} {finding['value']}"
    return line.rstrip()


def _mark(finding: Mapping[str, Any]) -> str:
    if finding["registered"] is None:
        return "exploratory"
    return f"registered {printable(finding['wanted'])}: {finding['registered']}"


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
