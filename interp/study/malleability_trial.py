"""A trial of malleability from names to files: directions of a run or a battery, its texts under
system prompts, and a folder with table, figure and record.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import stimuli
from interp.analysis.malleability import malleability_rows
from interp.causal.steps import check_direction, with_length
from interp.directions import Direction
from interp.errors import StatisticsError, UsageError
from interp.evaluation.malleability import prompts_by_length, read_under, require_system_role
from interp.evaluation.readouts import find_testbed
from interp.files import check_new
from interp.models import LanguageModel
from interp.models.chat_template import OFF, ON
from interp.prompting_options import MalleabilityOptions
from interp.results import TableRows
from interp.sentence_options import SentenceOptions
from interp.sites import LAST, site_columns
from interp.study.sources import Wanted
from interp.study.trials import Tried, try_out
from stimuli.battery import Stimulus
from stimuli.splits import balanced

MALLEABILITY = "malleability"
"""The table of the folder."""

MOODS = ("calm", "detached", "empathic")
"""System prompts that ask for no one emotion."""


def run_malleability(asked: SentenceOptions, how: MalleabilityOptions) -> pd.DataFrame:
    """Read texts under system prompts, and fill the folder `how.out`; its table.

    Raises `ArtefactError` where the folder holds something, `UsageError` for a testbed, for a model
    without a chat template or a system role, and for an emotion or layer that is not there,
    `StatisticsError` for no texts; the latter and the first two before the model is loaded.
    """
    check_new(how.out)
    if find_testbed(asked.model) is not None:
        raise UsageError(
            f"{asked.model} is a testbed, which has no chat template: name a chat model."
        )
    if asked.loading.chat_template == OFF:
        raise UsageError("a system prompt needs chat turns: leave out --chat-template off.")
    wanted = Wanted(
        model=asked.model,
        run=asked.run,
        stimuli=asked.stimuli,
        arm=asked.arm,
        keep=not asked.no_cache,
    )
    emotions = sorted(how.emotions or wanted.emotions())
    wanted.check(emotions)
    items = texts_to_bend(wanted, emotions, n=how.n_texts, seed=asked.seed)

    def measure(model: LanguageModel) -> Tried:
        require_system_role(model)
        source = wanted.source(model, asked.layer)
        directions = with_length({one: source.directions[one] for one in emotions})
        for one in directions.values():
            check_direction(model, one)
        return {MALLEABILITY: bend(model, items, directions)}

    return try_out((asked, how), wanted.battery, measure, template=ON)[MALLEABILITY]


def bend(
    model: LanguageModel, items: Sequence[Stimulus], directions: Mapping[str, Direction]
) -> TableRows:
    """`malleability_rows` of those texts whose emotion has a direction, under the package's system
    prompts. The directions are all of one site. Raises as `read_under`.
    """
    known, emotions = stimuli.prompts("system"), list(directions)
    texts = [item for item in items if item.emotion in directions]
    prompts = prompts_by_length(model, _kinds(known, emotions), known["matched"])
    systems = [*known["neutral"], *(text for one in prompts for text in (one.text, one.matched))]
    rows = malleability_rows(
        read_under(model, texts, list(dict.fromkeys(systems)), directions),
        known["neutral"],
        prompts,
        emotions,
        labels=[item.emotion for item in texts],
        groups=[item.group for item in texts],
    )
    place = site_columns(next(iter(directions.values())).site)
    return [{**place, "position": LAST, **row} for row in rows]


def texts_to_bend(wanted: Wanted, emotions: Sequence[str], *, n: int, seed: int) -> list[Stimulus]:
    """At most `n` texts of these emotions, those of the battery that have neutral twins, drawn as
    evenly over the emotions as they allow. Raises `StatisticsError` for none.
    """
    twins = [one for one in wanted.battery.pairs() if one.affective.emotion in emotions]
    if not twins:
        raise StatisticsError(
            f"battery {wanted.battery.name!r} has no text with a neutral twin of the emotions "
            f"{', '.join(emotions)}: name another battery (--stimuli), or others of its emotions."
        )
    return list(balanced(twins, n=n, seed=seed).affective)


def _kinds(known: Mapping[str, Any], emotions: Sequence[str]) -> dict[str, list[str]]:
    """The wordings by kind; an emotion for which there is none is told of in a warning."""
    emotional = known["emotional"]
    if lost := [one for one in emotions if one not in emotional]:
        warnings.warn(f"there is no system prompt for {', '.join(lost)}.", stacklevel=3)
    named = {kind: known[kind] for kind in MOODS}
    return named | {one: emotional[one] for one in emotions if one in emotional}
