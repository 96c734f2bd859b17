"""The command line: one command a question. A command reads its options, calls its room, and prints.

Tables and JSON go to stdout, progress and warnings to stderr; an error of ours becomes one line and its exit code
(0 done, 1 our bug, 2 usage, 3 stimuli or data, 4 artefact, 5 resource, 6 statistics, 75 try again, 130/143 stopped).
"""

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

import interp
from interp.errors import ArtefactError, DataError, InterpError, UsageError

Command = Callable[..., Any]


def main() -> None:
    """Entry point of `interp`: run the command; turn errors of ours into one line on stderr and an exit code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InterpError as error:
        click.echo(f"interp: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interp: stopped; what was finished is kept, and the same command resumes.", err=True)
        sys.exit(128 + signal.SIGINT)


def printable(text: str) -> str:
    """`text` with control and bidirectional characters shown as code points, so that data cannot drive a terminal."""
    return "".join(c if c == "\n" or c.isprintable() else f"<U+{ord(c):04X}>" for c in text)


def _show_warning(message: Warning | str, *_: Any) -> None:
    click.echo(f"interp: warning: {printable(str(message))}", err=True)


def show(rows: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows: a JSON list, or a table for people."""
    rows = list(rows)
    if as_json:
        click.echo(json.dumps(rows, indent=1, default=str, allow_nan=True))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        grid.add_column(column)
    for row in rows:
        grid.add_row(*(Text(_cell(row.get(column))) for column in columns))
    Console(width=None if sys.stdout.isatty() else 160).print(grid)


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN: nothing was measured
        return ""
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def _split(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """The parts of a comma-separated option; a comma inside a range of layers (`resid_post@0,3`) does not part."""
    del context, parameter
    return tuple(part.strip() for part in re.split(r",(?!\s*\d)", value) if part.strip())


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
seed = click.option("--seed", default=0, show_default=True, help="Seed of everything random.")
offline = click.option("--offline", is_flag=True, help="Never touch the network.")
device = click.option(
    "--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps, or auto: spread over all GPUs, then CPU memory."
)
chat_template = click.option(
    "--chat-template", help="Give texts as chat turns: on (the tokenizer's template), off, or a file with a Jinja template."
)
model_argument = click.argument("model")
model_options = options(offline, device)
reading_options = options(
    click.option("--drop-unmatched", is_flag=True, help="Leave out pairs that lack a twin, and say which."),
    click.option("--normalise-labels", is_flag=True, help="Unify case and spaces of emotion labels."),
    click.option("--dedupe", is_flag=True, help="Keep one of rows with the same id and content."),
    click.option("--allow-control", is_flag=True, help="Accept control characters in texts."),
    click.option("--strict", is_flag=True, help="Make every warning about the stimuli an error."),
    click.option("--emotions", callback=_split, default="", help="Keep these emotions (comma-separated) and neutral texts."),
)
study_options = options(
    click.option("--model", required=True, help="A testbed (planted, storyworld), a folder, or org/name@revision."),
    click.option("--stimuli", required=True, help="A battery's name or a file; see `interp stimuli list`."),
    click.option("--out", required=True, type=click.Path(path_type=Path), help="The run's folder; given again, it resumes."),
    click.option("--folds", default=5, show_default=True, help="Grouped cross-validation folds."),
    click.option("--sites", callback=_split, default="", help="Sites, such as resid_post,z or resid_post@0-3. All by default."),
    click.option("--positions", callback=_split, default="", help="Position rules: last, mean_content, role(user), ..."),
    click.option("--truncate", type=click.Choice(["left", "right"]), help="Cut texts longer than the context on this side."),
    click.option("--allow-special", is_flag=True, help="Accept texts that contain the tokenizer's special tokens."),
    chat_template,
    click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True),
    click.option(
        "--storage", type=click.Choice(["float32", "float16"]), default="float32", show_default=True, help="As what to store."
    ),
    click.option(
        "--on-nonfinite",
        type=click.Choice(["stop", "quarantine"]),
        default="stop",
        show_default=True,
        help="What becomes of a text whose activations are not finite; quarantine leaves out its pair.",
    ),
    click.option("--token-budget", type=click.IntRange(1), default=1024, show_default=True, help="Tokens a batch."),
    click.option("--shard-mb", type=click.IntRange(1), default=64, show_default=True, help="MiB a shard, as float32."),
    click.option("--reuse", type=click.Path(path_type=Path), multiple=True, help="Folder of an earlier capture to copy from."),
    click.option("--dry-run", is_flag=True, help="Say what would be done and how much it is; compute nothing."),
    click.option("--teraflops", type=click.FloatRange(0, min_open=True), help="With --dry-run: what the device reaches."),
    seed,
    as_json,
    model_options,
    reading_options,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(interp.__version__, prog_name="interp")
def cli() -> None:
    """Does a language model represent emotion, or only the words for it? Where, and does it act on it?

    \b
    The whole study in one line:
      interp run --model storyworld --stimuli storyworld --out runs/demo
    """


def _study(stages: tuple[str, ...] | None, *, dry_run: bool, teraflops: float | None, as_json: bool, **settings: Any) -> None:
    from interp import study

    arguments = study.Settings(**{key: value for key, value in settings.items() if value != ()})
    if dry_run:
        show(study.estimate(arguments, teraflops=teraflops), as_json=as_json)
        return
    if teraflops is not None:
        raise UsageError("--teraflops is for --dry-run, which it tells how fast the device is.")
    summary = study.run(arguments, stages=stages)
    if as_json:
        click.echo(json.dumps(summary, indent=1, default=str))
    else:
        for finding in summary["findings"]:
            click.echo(f"{finding['stage']}: {printable(finding['sentence'])} {finding['value']}".rstrip())
        click.echo(summary["report"] or summary["out"])


@cli.command()
@study_options
def run(**settings: Any) -> None:
    """Every stage on one model and one battery; ends with the path of the report. Run again to resume."""
    _study(None, **settings)


def _stage_command(name: str, stages: tuple[str, ...], text: str) -> None:
    @cli.command(name, help=text)
    @study_options
    def command(**settings: Any) -> None:
        _study(stages, **settings)


@cli.command()
@study_options
@click.option(
    "--executor", default="serial", show_default=True, type=click.Choice(["serial", "processes", "ray"]), help="Who computes."
)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Workers of processes and ray.")
@click.option("--shard", metavar="I/N", help="Be worker I of N (from 0) that share OUT, as in a Slurm array.")
@click.option("--repair", is_flag=True, help="Forget damaged shards first, so that only they are computed again.")
def capture(executor: str, workers: int, shard: str | None, repair: bool, **settings: Any) -> None:
    """Record hidden states at every site into OUT/activations."""
    if repair:
        from interp.capture.upkeep import repair as forget_damaged

        show(forget_damaged(settings["out"] / "activations"), as_json=False)
    chosen = f"shard:{shard}" if shard else executor if executor == "serial" else f"{executor}:{workers}"
    _study(("capture",), executor=chosen, **settings)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--recompute", default=0.01, show_default=True, type=click.FloatRange(0, 1), help="Share of texts to compute again, alone."
)
@click.option("--model", help="The model to compute them with; without it only files are checked.")
@chat_template
@model_options
@as_json
def verify(path: Path, recompute: float, model: str | None, as_json: bool, **how: Any) -> None:
    """Check every shard of a capture, and a sample of texts computed again; exit code 4 when something is wrong."""
    from interp.capture import upkeep

    loaded = None
    if model is not None:
        from interp import models

        loaded = models.load(model, **how)
    checks = upkeep.verify(path, recompute=recompute, model=loaded)
    show(checks, as_json=as_json)
    sys.exit(0 if all(check["passed"] for check in checks) else ArtefactError.exit_code)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def export(path: Path, target: Path) -> None:
    """Copy a capture into one HDF5 file."""
    from interp.capture.upkeep import export_hdf5

    click.echo(export_hdf5(path, target))


_stage_command("probe", ("probes",), "Linear probes beside text baselines and a control task.")
_stage_command("directions", ("directions", "cosines"), "Emotion directions and how well they separate held-out twins.")
_stage_command("patch", ("patching",), "Activation patching between twins: site x layer, at two positions.")
_stage_command(
    "ablate", ("contributions", "ablation"), "Contributions of heads and neurons; ablation of the top k against random k."
)
_stage_command("steer", ("steering",), "Steer neutral texts along each direction, over strengths.")


@cli.command()
@click.argument("out", type=click.Path(path_type=Path))
def report(out: Path) -> None:
    """Draw the figures of a run again and write OUT/report.html."""
    from interp import study

    click.echo(study.report(out))


@cli.command()
@model_argument
@model_options
@as_json
def doctor(model: str, offline: bool, device: str, as_json: bool) -> None:
    """Check that a model's sites can be trusted; exit code 1 when a check fails."""
    from interp import models
    from interp.models.doctor import examine

    checks = examine(models.load(model, device=device, offline=offline, check=False, chat_template="off"), thorough=True)
    show(checks, as_json=as_json)
    sys.exit(0 if all(check["passed"] for check in checks) else 1)


@cli.command()
@model_argument
@model_options
@as_json
def sites(model: str, offline: bool, device: str, as_json: bool) -> None:
    """List the sites a model offers, with their shapes."""
    from interp import models

    show(models.load(model, device=device, offline=offline, chat_template="off").sites(), as_json=as_json)


@cli.command()
@seed
@as_json
def truth(seed: int, as_json: bool) -> None:
    """Run every method on models whose circuit is known, and say how much of it each recovers."""
    from interp.evaluation.truth import check_truth

    show(check_truth(seed=seed), as_json=as_json)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@as_json
def inspect(path: Path, as_json: bool) -> None:
    """Say what an artefact holds: a run, a store of activations, a direction, a table."""
    from interp.study import describe

    show(describe(path), as_json=as_json)


@cli.group()
def stimuli() -> None:
    """Batteries of texts: list, show, convert, audit."""


@stimuli.command("list")
@as_json
def list_stimuli(as_json: bool) -> None:
    """The batteries in the package, with their sizes."""
    import stimuli as batteries

    loaded = [batteries.load(name) for name in batteries.names()]
    show(
        ({"name": b.name, "items": len(b), "pairs": len(b.pairs()), "emotions": len(b.emotions)} for b in loaded),
        as_json=as_json,
    )


@stimuli.command("show")
@click.argument("battery")
@click.option("--most", default=5, show_default=True, help="How many items.")
@reading_options
@as_json
def show_stimuli(battery: str, most: int, as_json: bool, **reading: Any) -> None:
    """The first items of a battery."""
    import stimuli as batteries

    items = batteries.load(battery, **reading).items[:most]
    show(({"id": i.id, "emotion": i.emotion, "arm": i.arm, "pair": i.pair, "text": i.text} for i in items), as_json=as_json)


@stimuli.command("convert")
@click.argument("battery")
@click.argument("target", type=click.Path(path_type=Path))
@reading_options
def convert_stimuli(battery: str, target: Path, **reading: Any) -> None:
    """Write any readable battery as interp's own JSONL (or CSV, by TARGET's ending)."""
    import stimuli as batteries

    if target.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"cannot write {target.name}: the target must end in .jsonl or .csv.")
    batteries.save(batteries.load(battery, **reading), target)
    click.echo(target)


@stimuli.command("audit")
@click.argument("battery")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for audit.csv, audit.svg and audit.png.")
@seed
@reading_options
@as_json
def audit_stimuli(battery: str, out: Path | None, seed: int, as_json: bool, **reading: Any) -> None:
    """Put a battery through the gate: do its words alone give the answer away? Exit code 3 when a rule fails."""
    from interp.study import audit

    result = audit.audit_battery(battery, seed=seed, **reading)
    if as_json:
        click.echo(json.dumps(audit.content(result), indent=1))
    else:
        show((rule.row() for rule in result.rules), as_json=False)
        show(result.baselines, as_json=False)
    for line in [*(audit.write_audit(result, out, seed=seed) if out else ()), *audit.verdict(result)]:
        click.echo(printable(str(line)), err=True)
    sys.exit(0 if result.passed else DataError.exit_code)
