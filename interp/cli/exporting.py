"""The command that writes directions for other tools: `control-vector`."""

from pathlib import Path

import click

from interp.cli.options import single
from interp.errors import UsageError
from interp.sentence_options import SentenceOptions

FORMATS = ("gguf", "safetensors", "hub")


@click.command("control-vector")
@click.argument("direction", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="gguf: a file for llama.cpp, repeng and EasySteer; safetensors: a file of which "
    "steering-vectors builds its SteeringVector; hub: a folder with a model card.",
)
@click.option(
    "--emotion", multiple=True, help="Which emotion of a run; may be given again for a folder."
)
@click.option(
    "--layer", type=int, help="Which layer of a run. By default the one that its table chooses."
)
@single(SentenceOptions, "scale")
@single(SentenceOptions, "unit")
@click.option("--licence", help="Of a folder for the Hub: the Hub's short name, such as mit.")
@click.option(
    "--upload",
    metavar="ORG/NAME",
    help="Also send the folder to the Hub, as a new private repository of this name.",
)
@click.option("--public", is_flag=True, help="With --upload: everybody may see it.")
def control_vector(
    direction: Path,
    target: Path,
    *,
    form: str,
    emotion: tuple[str, ...],
    layer: int | None,
    scale: float,
    unit: str,
    licence: str | None,
    upload: str | None,
    public: bool,
) -> None:
    """Write a saved DIRECTION, or a finished run's, as a file that other tools read, or as a folder
    for the Hub: TARGET.

    \b
      interp control-vector joy.safetensors joy.gguf
      interp control-vector runs/demo joy --emotion joy --format hub --licence mit

    At their strength 1, llama.cpp, repeng, EasySteer and steering-vectors add --scale times --unit,
    behind the direction's layer; the files do not say at which tokens. Nothing is sent anywhere
    without --upload.
    """
    _check_asked(form, licence, upload, public=public)
    if target.resolve() == direction.resolve():
        raise UsageError(f"{target} is the direction itself: choose another name to write to.")
    from interp.causal.steps import step
    from interp.models.control_vectors import save_control_vector
    from interp.models.layer_steps import save_layer_steps
    from interp.study import hub_folder
    from interp.study.exports import directions_to_write

    if upload is not None:
        hub_folder.check_repository(upload)
    found = directions_to_write(direction, emotions=emotion, layer=layer)
    if form == "hub":
        dosed = [hub_folder.Dosed(one, scale, unit) for one in found]
        hub_folder.save_hub_folder(target, dosed, licence=str(licence))
        click.echo(target)
        if upload is not None:
            click.echo(hub_folder.upload_hub_folder(target, upload, public=public))
        return
    names = sorted({one.labels[0] for one in found})
    if len(names) > 1:
        raise UsageError(f"a file is of one emotion: name one by --emotion: {', '.join(names)}.")
    save = save_control_vector if form == "gguf" else save_layer_steps
    save(target, [(one, scale * step(one, unit)) for one in found])
    click.echo(target)


def _check_asked(form: str, licence: str | None, upload: str | None, *, public: bool) -> None:
    """Raise `UsageError` for options that do not go together, before anything is read."""
    if form == "hub" and licence is None:
        raise UsageError(
            "a folder for the Hub says under which licence it is: --licence mit, apache-2.0, other "
            "(a model's own licence may bind what was made with it)."
        )
    if form != "hub" and (licence is not None or upload is not None):
        raise UsageError("--licence and --upload are of a folder: say --format hub.")
    if public and upload is None:
        raise UsageError("--public goes with --upload ORG/NAME.")


COMMANDS = (control_vector,)
