"""The command `dissect`, which asks a model part by part."""

import click

from interp.cli.loading import refuse_at_once
from interp.cli.options import GroupedCommand, as_json, gathered
from interp.cli.printing import show_said
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
    refuse_at_once(asked.out, asked.model, asked.stimuli)
    from interp.reporting.dissection_told import dissection_sentences
    from interp.study.dissection import run_dissection

    show_said(dissection_sentences(run_dissection(asked)), asked.out, as_json=as_json)


COMMANDS = (dissect,)
