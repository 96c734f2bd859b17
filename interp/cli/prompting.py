"""The commands that try what is said around a text: `zero-shot` asks for its emotion by label
words, `malleability` puts a system prompt before it, `framings` puts pressure before a task,
`release` lets a steered emotion go, and `dynamics` goes along with a conversation.
"""

import click

from interp.cli.loading import refuse_at_once
from interp.cli.options import GroupedCommand, as_json, gathered
from interp.cli.printing import show_said
from interp.options import options_of
from interp.prompting_options import (
    DynamicsOptions,
    FramingOptions,
    MalleabilityOptions,
    ReleaseOptions,
    ZeroShotOptions,
)
from interp.sentence_options import SentenceOptions
from interp.settings import ModelOptions

_OF_A_MODEL = ("model", *options_of(ModelOptions), "stimuli", "seed")
_OF_DIRECTIONS = (*_OF_A_MODEL, "run", "arm", "no_cache", "layer")
_OF_STEERING = (*_OF_A_MODEL, "arm", "no_cache", "layer", "scale", "unit", "temperature")


@click.command("zero-shot", cls=GroupedCommand)
@gathered(ZeroShotOptions, into="asked")
@as_json
def asking_by_words(asked: ZeroShotOptions, as_json: bool) -> None:
    """Ask a model for the emotion of a battery's texts by label words, beside a probe of the same
    texts and what their words tell a classifier.

    \b
      interp zero-shot --model smollm2 --stimuli plain --out runs/zero_shot
    """
    refuse_at_once(asked.out, asked.model, asked.stimuli)
    from interp.reporting.zero_shot import told_of_zero_shot
    from interp.study.zero_shot_trial import run_zero_shot

    show_said(told_of_zero_shot(run_zero_shot(asked)), asked.out, as_json=as_json)


@click.command("malleability", cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_DIRECTIONS)
@gathered(MalleabilityOptions, into="how")
@as_json
def bending(asked: SentenceOptions, how: MalleabilityOptions, as_json: bool) -> None:
    """Read texts under system prompts: neutral, calm, and of each emotion. How far does each shift
    what is read, beside a prompt of like length that asks for nothing?

    \b
      interp malleability --model smollm2 --out runs/malleability
    """
    refuse_at_once(how.out, asked.model, asked.stimuli)
    from interp.reporting.malleability import told_of_malleability
    from interp.study.malleability_trial import run_malleability

    show_said(told_of_malleability(run_malleability(asked, how)), how.out, as_json=as_json)


@click.command("framings", cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_DIRECTIONS)
@gathered(FramingOptions, into="how")
@as_json
def framing(asked: SentenceOptions, how: FramingOptions, as_json: bool) -> None:
    """Put calm, threats, encouragement and doses of stress before easy tasks: what do they do to
    the stream, and to how well the tasks are done?

    \b
      interp framings --model smollm2 --out runs/framings
    """
    refuse_at_once(how.out, asked.model, asked.stimuli)
    from interp.reporting.framing_claims import told_of_framings
    from interp.study.framing_trial import run_framings

    show_said(told_of_framings(run_framings(asked, how)), how.out, as_json=as_json)


@click.command("release", cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_STEERING)
@gathered(ReleaseOptions, into="how")
@as_json
def releasing(asked: SentenceOptions, how: ReleaseOptions, as_json: bool) -> None:
    """Steer the first tokens of texts, then let go: is the emotion still there some tokens later,
    in what the model holds and in what it writes?

    \b
      interp release --model smollm2 --emotions joy,fear --out runs/released
    """
    refuse_at_once(how.out, asked.model, asked.stimuli)
    from interp.reporting.released import told_of_release
    from interp.study.release_trial import run_release

    show_said(told_of_release(run_release(asked, how)), how.out, as_json=as_json)


@click.command("dynamics", cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=(*_OF_STEERING, "max_new_tokens"))
@gathered(DynamicsOptions, into="how")
@as_json
def going_along(asked: SentenceOptions, how: DynamicsOptions, as_json: bool) -> None:
    """Keep a state of valence, arousal and dominance over the turns of conversations, and tell it
    to the model: does the model follow it through an adverse stretch and back?

    \b
      interp dynamics --model smollm2 --chat-template on --out runs/dynamics
    """
    refuse_at_once(how.out, asked.model, asked.stimuli)
    from interp.reporting.state_dynamics import told_of_dynamics
    from interp.study.dynamics_trial import run_dynamics

    show_said(told_of_dynamics(run_dynamics(asked, how)), how.out, as_json=as_json)


COMMANDS = (asking_by_words, bending, framing, releasing, going_along)
