"""A trial of an outside state from names to files: conversations written from a battery, the state
that goes with them, and a folder with tables, figures and record.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle

import numpy as np
import pandas as pd

import stimuli
from interp.analysis.dynamics import AffectAxes, StateDynamics, affect_axes
from interp.analysis.turn_rows import OfTurns, Stretches, turn_rows
from interp.errors import StatisticsError, UsageError
from interp.evaluation.judges import check_judge
from interp.evaluation.readouts import find_testbed
from interp.evaluation.release import Judged
from interp.evaluation.state_dynamics import Script, converse
from interp.evaluation.told_states import TOLD_IN_WORDS, TellingOfStates
from interp.files import check_new
from interp.models import LanguageModel
from interp.models.chat_template import OFF, ON
from interp.models.generation import Decoding
from interp.prompting_options import DynamicsOptions
from interp.sentence_options import SentenceOptions
from interp.sites import site_columns
from interp.study.release_trial import chosen_judge, layer_to_read
from interp.study.sources import Wanted
from interp.study.trials import Tried, try_out
from stimuli.battery import NEUTRAL, Battery, Stimulus, in_content_order

DYNAMICS, REPLIES = "dynamics", "replies"
"""The table of numbers, and that of the replies."""

PLEASANT = "valence"
"""The axis by which emotions are adverse."""


def run_dynamics(asked: SentenceOptions, how: DynamicsOptions) -> pd.DataFrame:
    """Let a state go with conversations, and fill the folder `how.out`; its table of numbers.

    Raises `ArtefactError` where the folder holds something; `UsageError` for an emotion, judge or
    layer that is not there, emotions without ratings, other than three stretches of turns, and a
    testbed that is told its state in words; `StatisticsError` for too few scenarios; and as
    `converse`.
    """
    check_new(how.out)
    testbed = find_testbed(asked.model) is not None
    if testbed and how.tell == TOLD_IN_WORDS:
        raise UsageError(
            f"{asked.model} is a testbed and knows no English: leave out --tell words."
        )
    if how.judge is not None:
        check_judge(how.judge)
    wanted = Wanted(
        model=asked.model, stimuli=asked.stimuli, arm=asked.arm, keep=not asked.no_cache
    )
    emotions = sorted(how.emotions or wanted.emotions())
    wanted.check(emotions)
    axes = affect_axes(emotions, stimuli.ratings())
    adverse = how.adverse or _unpleasant(axes)
    wanted.check(adverse)
    plan = _plan(asked, how)
    scripts = scripts_of(
        wanted.battery, adverse, plan.stretches, n=how.conversations, seed=asked.seed
    )

    def measure(model: LanguageModel) -> Tried:
        source = wanted.source(model, asked.layer)
        layer = how.read_layer
        if layer is None:
            layer = layer_to_read(source.layer, n_layers=model.dims.n_layers)
        found = wanted.source(model, layer).directions
        directions, readers = ({one: of[one] for one in emotions} for of in (source[0], found))
        judge = chosen_judge(model, emotions, how.judge)
        affect = affect_of(scripts, axes, judge if how.affect == "judge" else None)
        told = converse(model, scripts, affect, axes, directions, readers, judge, plan)
        at = site_columns(readers[emotions[0]].site)
        rows = [{**at, "position": "generated", **row} for row in turn_rows(told.found)]
        return {DYNAMICS: rows, REPLIES: told.texts}

    template = OFF if testbed else ON
    return try_out((asked, how), wanted.battery, measure, template=template)[DYNAMICS]


def scripts_of(
    battery: Battery, adverse: Sequence[str], stretches: Stretches, *, n: int, seed: int = 0
) -> list[Script]:
    """The user's turns of `n` conversations that share no scenario: neutral texts, texts that evoke
    one of the `adverse` emotions without naming it, and neutral texts again. Where a conversation
    has fewer such texts than turns, they come again.

    Raises `StatisticsError` where there are fewer scenarios of adverse emotions than conversations.
    """
    draw = np.random.default_rng(seed)
    bad, calm = (
        _by_group(pair[side] for pair in battery.pairs() if pair.affective.emotion in kinds)
        for side, kinds in ((0, adverse), (1, battery.pairs().emotions))
    )
    if len(bad) < n:
        raise StatisticsError(
            f"battery {battery.name!r} has {len(bad)} scenarios with twins of "
            f"{', '.join(adverse)}, and {n} conversations are asked for: ask for fewer "
            "(--conversations), or name other emotions (--adverse)."
        )
    order = [list(bad), [one for one in calm if one not in bad]]
    dealt: list[list[str]] = [[] for _ in range(n)]
    for groups in order:
        for place, at in enumerate(draw.permutation(len(groups))):
            dealt[place % n].append(groups[at])
    scripts: list[Script] = []
    for groups in dealt:
        quiet = _again([item for one in groups for item in calm[one]], draw)
        upset = _again([item for one in groups for item in bad.get(one, ())], draw)
        kinds = (quiet, upset, quiet)
        scripts.append(
            [next(kind) for kind, k in zip(kinds, stretches, strict=True) for _ in range(k)]
        )
    return scripts


def affect_of(scripts: Sequence[Script], axes: AffectAxes, judge: Judged | None) -> OfTurns:
    """The affect of each turn: of its emotion in the battery, or of the one that a judge hears, of
    whom None is no affect.
    """
    if judge is None:
        return np.stack([axes.affect([item.emotion for item in one]) for one in scripts])
    heard = [judge[1]([item.text for item in one]) for one in scripts]
    return np.stack([axes.affect([label or NEUTRAL for label in one]) for one in heard])


def _plan(asked: SentenceOptions, how: DynamicsOptions) -> TellingOfStates:
    if len(how.turns) != 3 or min(how.turns) < 1:
        raise UsageError(
            f"--turns is {','.join(map(str, how.turns))}: give three counts of at least 1, calm, "
            "adverse and calm turns, such as 8,8,9."
        )
    return TellingOfStates(
        first=StateDynamics(retention=how.retention),
        second=StateDynamics(retention=how.retention, momentum=how.momentum),
        decoding=Decoding(
            max_new_tokens=asked.max_new_tokens, temperature=asked.temperature, seed=asked.seed
        ),
        stretches=Stretches(*how.turns),
        by=how.tell,
        scale=asked.scale,
        unit=asked.unit,
        history=how.history,
    )


def _unpleasant(axes: AffectAxes) -> tuple[str, ...]:
    rated = axes.ratings[:, axes.names.index(PLEASANT)]
    return tuple(one for one, value in zip(axes.emotions, rated, strict=True) if value < 0)


def _by_group(items: Iterable[Stimulus]) -> dict[str, list[Stimulus]]:
    found: dict[str, list[Stimulus]] = defaultdict(list)
    for item in in_content_order(items):
        found[item.group].append(item)
    return dict(found)


def _again(items: Sequence[Stimulus], draw: np.random.Generator) -> Iterator[Stimulus]:
    """The items in random order, again and again."""
    return cycle([items[at] for at in draw.permutation(len(items))])
