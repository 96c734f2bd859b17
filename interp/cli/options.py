"""The options that commands share, each said once; a study's defaults are those of `interp run`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def _split(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """The parts of a comma-separated option; a comma inside a range of layers (`resid_post@0,3`) does not part."""
    del context, parameter
    return tuple(part.strip() for part in re.split(r",(?!\s*\d)", value) if part.strip())


def _names(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """The parts of a comma-separated option."""
    del context, parameter
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _columns(context: click.Context, parameter: click.Parameter, value: str) -> dict[str, str]:
    """Our columns and the file's, written OURS=THEIRS and parted by commas."""
    del context
    found: dict[str, str] = {}
    for part in filter(str.strip, value.split(",")):
        ours, equals, theirs = (side.strip() for side in part.partition("="))
        if not (ours and equals and theirs):
            raise click.BadParameter(f"{part!r} is not OURS=THEIRS, such as text=Sentence.", param=parameter)
        if ours in found:
            raise click.BadParameter(f"{ours!r} is named twice.", param=parameter)
        found[ours] = theirs
    return found


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
dtype = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="What the model computes in.",
)
model_argument = click.argument("model")
model_options = options(offline, device)
reading_options = options(
    click.option("--drop-unmatched", is_flag=True, help="Leave out pairs that lack a twin, and say which."),
    click.option("--normalise-labels", is_flag=True, help="Unify case and spaces of emotion labels."),
    click.option("--dedupe", is_flag=True, help="Keep one of rows with the same id and content."),
    click.option("--allow-control", is_flag=True, help="Accept control characters in texts."),
    click.option("--strict", is_flag=True, help="Make every warning about the stimuli an error."),
    click.option(
        "--columns",
        callback=_columns,
        default="",
        help="Which column is which: text=Sentence,emotion=Label; numbers from 1 where a table has no line of names.",
    ),
    click.option("--emotions", callback=_names, default="", help="Keep these emotions (comma-separated) and neutral texts."),
)
study_options = options(
    click.option(
        "--model",
        required=True,
        help="A testbed (storyworld), smollm2, a folder, a .gguf file, or org/name@revision.",
    ),
    click.option("--stimuli", required=True, help="A battery's name or a file; see `interp stimuli list`."),
    click.option("--out", required=True, type=click.Path(path_type=Path), help="The run's folder; given again, it resumes."),
    click.option(
        "--preset",
        type=click.Choice(["quick", "standard", "full"]),
        default="standard",
        show_default=True,
        help="How much is run; --dry-run says what each means.",
    ),
    click.option("--folds", default=5, show_default=True, help="Grouped cross-validation folds."),
    click.option("--sites", callback=_split, default="", help="Sites, such as resid_post,z or resid_post@0-3. All by default."),
    click.option("--positions", callback=_split, default="", help="Position rules: last, mean_content, role(user), ..."),
    click.option(
        "--truncate",
        type=click.Choice(["left", "right"]),
        help="Cut texts longer than the context on this side, in every stage.",
    ),
    click.option("--allow-special", is_flag=True, help="Accept texts that contain the tokenizer's special tokens."),
    chat_template,
    dtype,
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
    click.option("--reuse", type=click.Path(path_type=Path), multiple=True, help="An earlier run, to copy activations from."),
    click.option(
        "--new-run", is_flag=True, help="If OUT holds a run with other settings, begin one beside it: OUT-2, OUT-3, ..."
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done and how much it is; compute nothing."),
    click.option(
        "--measure",
        is_flag=True,
        help="With --dry-run: load the model, run a sample, and say how long each stage will take.",
    ),
    click.option("--teraflops", type=click.FloatRange(0, min_open=True), help="With --dry-run: what the device reaches."),
    seed,
    as_json,
    model_options,
    reading_options,
)
