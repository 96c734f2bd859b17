"""The command `dissect`, which asks a model part by part."""

import click

from interp.cli.options import GroupedCommand, as_json, gathered
from interp.cli.printing import show_json
from interp.dissection_options import DissectionOptions


@click.command(cls=GroupedCommand)
@gathered(DissectionOptions, into="asked")
@as_json
def dissect(asked: DissectionOptions, as_json: bool) -> None:
    """Take a model apart: knock out its layers, ablate directions, ablate and enhance heads and
    neurons, and see what heads look at and from which layer on the words are there.

    \b
      interp dissect --model storyworld --stimuli storyworld --out runs/parts
    """
    from interp.reporting.dissection_told import dissection_sentences
    from interp.study.dissection import run_dissection

    said = dissection_sentences(run_dissection(asked))
    if as_json:
        show_json({"out": str(asked.out), "said": said})
        return
    click.echo("\n".join([*said, str(asked.out)]))


COMMANDS = (dissect,)
