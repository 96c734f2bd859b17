"""The commands that say something: `steer` continues sentences as the model would and under an
emotion's direction, `chat` talks with a model that is steered.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import click

from interp.cli import side_by_side
from interp.cli.loading import load_model
from interp.cli.options import GroupedCommand, as_json, gathered
from interp.cli.printing import printable, show, show_json
from interp.errors import DataError, UsageError
from interp.files import read_regular
from interp.options import options_of
from interp.sentence_options import SentenceOptions

_MOST = 1 << 24
"""Bytes of a file of prompts."""

MOVED = (
    "`interp steer` steers a sentence (--emotion joy --prompt TEXT). The stage of a study is now "
    "`interp steering --model ... --stimuli ... --out ...`."
)


_OF_A_CHAT = tuple(name for name in options_of(SentenceOptions) if name != "chat_template")


class _Steer(GroupedCommand):
    """`steer` was the name of a study's stage: who asks for that is told its new one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments as click reads them, unless one is that of a study."""
        if any(word == "--out" or word.startswith("--out=") for word in args):
            raise click.UsageError(MOVED, ctx)
        return super().parse_args(ctx, args)


@click.command(cls=_Steer)
@gathered(SentenceOptions, into="asked")
@click.option("--prompt", multiple=True, help="A sentence to continue; may be given again.")
@click.option("--prompts", help="A file with a prompt on each line; - reads them from stdin.")
@click.option(
    "--circuit",
    type=click.Path(path_type=Path),
    help="A file of `interp circuit` to steer by, instead of directions; --emotion chooses in it, "
    "and a --scale of 1 moves its parts as far as twins differ.",
)
@click.option("--compare", is_flag=True, help="Say below the texts what the steering cost.")
@as_json
def steer(
    prompt: tuple[str, ...],
    prompts: str | None,
    *,
    asked: SentenceOptions,
    circuit: Path | None,
    compare: bool,
    as_json: bool,
) -> None:
    """Continue sentences as the model would, and side by side steered towards an emotion.

    \b
      interp steer --model smollm2 --emotion joy --prompt "When I got home from work, I"
    """
    given = _given(prompt, prompts)
    by = _by_directions(asked) if circuit is None else _by_circuit(asked, circuit)
    from interp.study import sentence

    with side_by_side.live(given, shown=not as_json) as told:
        said = sentence.say(by.model, given, by.steered, by.manner, told=told)
    rows = sentence.compare(by.model, said, by.wanted.choices()) if compare else []
    if as_json:
        texts = sentence.as_rows(given, said, rows)
        show_json({**by.facts, "texts": texts})
        return
    side_by_side.show(given, said.texts)
    click.echo(printable(by.told))
    if rows:
        show(
            ({"prompt": row["prompt"] + 1, **sentence.told_price(row)} for row in rows),
            as_json=False,
        )
        click.echo(sentence.PRICE)


class _Steered(NamedTuple):
    """What a sentence is steered by, and what is told of that."""

    model: Any
    steered: Any
    manner: Any
    wanted: Any
    facts: dict[str, Any]
    told: str


def _by_directions(asked: SentenceOptions) -> _Steered:
    asking = read_asked(asked)
    if not asking.weights:
        asking.wanted.check([None])
    from interp.study import sentence

    model = plain_model(asked)
    source = asking.wanted.source(model, asked.layer)
    click.echo(f"interp: directions of {printable(source.told)}.", err=True)
    mixture = sentence.mixed(source, asking.weights)
    facts = sentence.facts(model, source, mixture, asking.manner)
    told = sentence.facts_told(facts)
    return _Steered(model, mixture, asking.manner, asking.wanted, facts, told)


def _by_circuit(asked: SentenceOptions, path: Path) -> _Steered:
    """The circuit in a file, read before the model is loaded."""
    named = [
        f"--{name}" for name in ("direction", "run", "layer") if getattr(asked, name) is not None
    ]
    if named:
        raise UsageError(f"--circuit is steered by itself, without {' and '.join(named)}.")
    asking = read_asked(replace(asked, emotion=None))
    from interp.causal.circuit import Circuit
    from interp.study import sentence

    circuit = Circuit.load(path, asked.emotion)
    model = plain_model(asked)
    facts = sentence.circuit_facts(model, path, circuit, asking.manner)
    told = sentence.circuit_told(facts)
    return _Steered(model, circuit, asking.manner, asking.wanted, facts, told)


def plain_model(asked: SentenceOptions) -> Any:
    """The model, to which a sentence is given as it stands unless a chat template is asked for."""
    template = asked.loading.chat_template or "off"
    return load_model(asked.model, **{**asdict(asked.loading), "chat_template": template})


@click.command(cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_A_CHAT)
def chat(asked: SentenceOptions) -> None:
    """Talk with a chat model, in turns of its own template.

    \b
      interp chat --model smollm2 --emotion joy

    A line that begins with a slash is not said but done: /joy 1.5 (steer there, in --unit), /off,
    /layer 18, /quit.
    """
    asking = read_asked(asked)
    from interp import models
    from interp.study.conversation import Conversation

    model = models.load(asked.model, **{**asdict(asked.loading), "chat_template": "on"})
    talk = Conversation(model, asking.wanted, asking.manner, layer=asked.layer)
    talk.weights = asking.weights
    for line in _heard(sys.stdin):
        click.echo(printable(talk.hear(line)))
        if talk.over:
            break


class Asking(NamedTuple):
    """What a command's options say before any model is there."""

    manner: Any
    wanted: Any
    weights: dict[str, float]


def read_asked(asked: SentenceOptions) -> Asking:
    """What `steer` and `chat` are asked, checked as far as it can be without a model."""
    from interp.models.loading.names import resolve

    resolve(asked.model)  # what is imported next takes seconds
    from interp.models.generation import Decoding
    from interp.study.sentence import Manner, read_mixture
    from interp.study.sources import Wanted

    decoding = Decoding(
        max_new_tokens=asked.max_new_tokens, temperature=asked.temperature, seed=asked.seed
    )
    where = tuple(asked.where.split("+"))
    manner = Manner(scale=asked.scale, unit=asked.unit, where=where, decoding=decoding)
    wanted = Wanted(
        model=asked.model,
        direction=asked.direction,
        run=asked.run,
        stimuli=asked.stimuli,
        arm=asked.arm,
        keep=not asked.no_cache,
    )
    weights = read_mixture(asked.emotion) if asked.emotion else {}
    if not weights and wanted.direction is not None:
        weights = dict.fromkeys(wanted.emotions(), 1.0)
    wanted.check(list(weights))
    return Asking(manner, wanted, weights)


def _given(prompt: tuple[str, ...], prompts: str | None) -> list[str]:
    """The prompts of the options and of the file, none of them blank."""
    named = [(f"--prompt {number}", text) for number, text in enumerate(prompt, start=1)]
    if prompts is not None:
        file = "stdin" if prompts == "-" else prompts
        lines = _lines(prompts)
        named += [(f"{file}:{number}", text) for number, text in enumerate(lines, start=1)]
    if not named:
        raise UsageError("there is no prompt: say --prompt TEXT, or --prompts FILE (- for stdin).")
    blank = [name for name, text in named if not text.strip()]
    if blank:
        raise DataError(f"{blank[0]} is blank: write the words that are to be continued.")
    return [text for _, text in named]


def _lines(prompts: str) -> list[str]:
    """The lines of a file, or of stdin; blank ones at its end are none."""
    try:
        data = sys.stdin.buffer.read() if prompts == "-" else read_regular(prompts, most=_MOST)
        return data.decode("utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read --prompts {prompts}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"--prompts {prompts} is not UTF-8 at byte {error.start}: convert it."
        ) from error


def _heard(stream: TextIO) -> Iterator[str]:
    """The lines of a conversation until it ends; a person is shown where to write."""
    asks = stream.isatty()
    while True:
        if asks:
            click.echo("you: ", nl=False)
        line = stream.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


COMMANDS = (steer, chat)
