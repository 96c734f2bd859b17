"""Elicited directions from names to files: questions, instructions and a judge; and a folder with
the directions, tables, figure and record.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from threadpoolctl import threadpool_limits

import stimuli
from interp.analysis.baselines import predict_texts
from interp.analysis.elicited import ELICITED, KeptReplies, elicited_directions
from interp.analysis.elicited_rows import elicited_rows, reply_words_rows
from interp.analysis.emotion_directions import origin_of, usual_layer
from interp.analysis.folds import grouped_folds
from interp.analysis.predictions import Predictions
from interp.analysis.questions import lexicons
from interp.causal.steered_texts import prompt_text
from interp.directions import Direction
from interp.errors import StatisticsError, UsageError
from interp.evaluation.elicited import (
    Elicitation,
    Reply,
    elicit,
    kept_counts,
    reply_rows,
    reply_states,
)
from interp.evaluation.judges import check_judge
from interp.evaluation.readouts import find_testbed
from interp.files import check_new, make_folder, sha256_bytes
from interp.models import LanguageModel
from interp.models.chat_template import OFF, ON
from interp.models.generation import Decoding
from interp.prompting_options import ElicitOptions
from interp.results import TableRows
from interp.sentence_options import SentenceOptions
from interp.sites import STREAM, expand, site_columns
from interp.study.release_trial import chosen_judge
from interp.study.representation import file_name
from interp.study.sources import Wanted
from interp.study.steering_trial import INSTRUCTION, prompts_of
from interp.study.trials import Tried, try_out
from stimuli.battery import NEUTRAL

ELICITED_REPLIES = "elicited_replies"
"""The table of the replies; that of numbers is called as the method."""

WORDING = 3
"""Which of the package's instructions asks a chat model ("Write a short reaction ..."), and its
counterpart without an emotion. Of the four with a counterpart it had most replies of SmolLM2 kept:
of 40, 21 by the lexicon (others 4 to 21) and 30 by forced choice (others 15 to 24).
"""

MOST_FOLDS = 5
"""Folds of questions, or fewer where an emotion has fewer replies."""


class Elicited(NamedTuple):
    """The directions by layer and emotion, the rows of numbers, and those of the replies."""

    directions: Mapping[int, Mapping[str, Direction]]
    rows: TableRows
    texts: TableRows


def run_elicit(asked: SentenceOptions, how: ElicitOptions) -> dict[str, pd.DataFrame]:
    """Ask a model the same questions under instructions for emotions, and make directions of the
    replies that a judge accepts; fill the folder `how.out`; its tables, by name.

    Raises `ArtefactError` where the folder holds something; `UsageError` for an emotion, layer,
    judge or file that is not there, for one emotion or too few questions, a testbed without an
    instruction in its language, and a model without a chat template, unless plain texts are asked
    for; and as `elicit_directions`.
    """
    check_new(how.out)
    testbed = find_testbed(asked.model) is not None
    if testbed and (how.instruction is None or how.neutral_instruction is None):
        raise UsageError(
            f"{asked.model} is a testbed and knows no English: give --instruction and "
            "--neutral-instruction in its own words, or name a chat model."
        )
    if how.judge is not None:
        check_judge(how.judge)
    wanted = Wanted(model=asked.model, stimuli=asked.stimuli)
    emotions = sorted(how.emotions or wanted.emotions())
    wanted.check(emotions)
    given = prompts_of(asked.model, wanted.battery, how.prompts, n=how.n_prompts)
    questions = list(dict.fromkeys(map(prompt_text, given)))
    _check_asked(emotions, questions, least=how.least)

    def measure(model: LanguageModel) -> Tried:
        found = elicit_directions(model, questions, emotions, asked, how)
        _save(found.directions, make_folder(how.out / "directions"))
        return {ELICITED: found.rows, ELICITED_REPLIES: found.texts}

    template = OFF if testbed else ON
    return try_out((asked, how), wanted.battery, measure, template=template)


def elicit_directions(
    model: LanguageModel,
    questions: Sequence[str],
    emotions: Sequence[str],
    asked: SentenceOptions,
    how: ElicitOptions,
) -> Elicited:
    """The directions of the emotions that have at least `how.least` kept replies, at each layer;
    what they tell of replies to questions that they were not fitted on, and every reply. An emotion
    with fewer is left out, with a warning.

    Raises `StatisticsError` where fewer than two emotions are left, `UsageError` for a layer that
    is not there; and as `elicit` and `elicited_directions`.
    """
    named = f"@{','.join(map(str, how.layers))}" if how.layers else ""
    sites = expand([f"{STREAM}{named}"], n_layers=model.dims.n_layers)
    plan = _plan(model, asked, how)
    judge = chosen_judge(model, list(emotions), how.judge)
    replies = elicit(model, questions, emotions, judge, plan)
    used = _enough(replies, emotions, least=how.least, judge=judge[0])
    own = [one for one in replies if one.kept and one.emotion in used]
    neutral = [one for one in replies if one.kept and one.emotion == NEUTRAL]
    states = reply_states(model, [*own, *neutral], sites, position=how.position)
    labels, groups = [one.emotion for one in own], [one.question for one in own]
    plain_at = [one.question for one in neutral]
    fewest = min(labels.count(one) for one in used)
    folds = grouped_folds(labels, groups, n_splits=min(MOST_FOLDS, fewest), seed=asked.seed)
    origin = _origin(model, questions, replies, plan, how, judge[0])
    telling = min(sites, key=lambda one: abs(one.layer - usual_layer(model.dims.n_layers)))
    directions: dict[int, Mapping[str, Direction]] = {}
    with threadpool_limits(1):  # the fits are small: a second thread waits more than it works
        words: dict[str, Predictions] = predict_texts(
            [one.text for one in own], labels, groups, folds=folds, lexicons=lexicons()
        )
        rows = reply_words_rows(words)
        for site, (x, norm) in states.items():
            here = KeptReplies(x[: len(own)], labels, groups)
            plain = KeptReplies(x[len(own) :], [NEUTRAL] * len(neutral), plain_at)
            found = elicited_directions(here, site=site, norm=norm, origin=origin)
            directions[site.layer] = found
            told = {"position": how.position, "told": "yes" if site == telling else ""}
            rows += [
                {**site_columns(site), **told, **row}
                for row in elicited_rows(
                    here, plain, found, folds, words, draws=how.draws, seed=asked.seed
                )
            ]
    return Elicited(directions, rows, reply_rows(replies, questions, used, judge=judge[0]))


def _check_asked(emotions: Sequence[str], questions: Sequence[str], *, least: int) -> None:
    """Raise `UsageError` where no reply that a judge could accept would be enough."""
    if len(set(emotions)) < 2:
        raise UsageError(
            f"elicited directions are centred over the emotions, and there is {emotions[0]} alone: "
            "name two or more (--emotions)."
        )
    if len(questions) < least:
        raise UsageError(
            f"an emotion needs {least} replies, each to another question, and {len(questions)} "
            "questions are asked: give more (--prompts, --n-prompts), or lower --least."
        )


def _plan(model: LanguageModel, asked: SentenceOptions, how: ElicitOptions) -> Elicitation:
    """How replies are elicited. Unless it is said, a chat model is instructed by the package's
    wordings, and one that is given plain texts as in an evaluation of steering.
    """
    if model.chat is None:
        usual, plain = INSTRUCTION, "{text}"
    else:
        known = stimuli.prompts("instructions")
        usual, plain = known["with_word"][WORDING], known["plain"][WORDING]
    return Elicitation(
        instruction=usual if how.instruction is None else how.instruction,
        neutral=plain if how.neutral_instruction is None else how.neutral_instruction,
        decoding=Decoding(
            max_new_tokens=asked.max_new_tokens, temperature=asked.temperature, seed=asked.seed
        ),
    )


def _enough(
    replies: Sequence[Reply], emotions: Sequence[str], *, least: int, judge: str
) -> list[str]:
    """The emotions with at least `least` kept replies; the others are told of in a warning."""
    kept = kept_counts(replies)
    few = {one: kept[one] for one in emotions if kept[one] < least}
    told = ", ".join(f"{one} {n}" for one, n in few.items())
    left = [one for one in emotions if one not in few]
    if len(left) < 2:
        raise StatisticsError(
            f"the judge {judge} accepts at least {least} replies of "
            f"{', '.join(left) or 'no emotion'}, and two emotions are needed (accepted: {told}). "
            "Ask more questions (--prompts, --n-prompts), write longer replies "
            "(--max-new-tokens), name another judge (--judge), or fewer to keep (--least)."
        )
    if few:
        warnings.warn(
            f"left out, with fewer than {least} replies that the judge {judge} accepts: {told}.",
            stacklevel=3,
        )
    return left


def _origin(
    model: LanguageModel,
    questions: Sequence[str],
    replies: Sequence[Reply],
    plan: Elicitation,
    how: ElicitOptions,
    judge: str,
) -> dict[str, Any]:
    """What the provenance of each direction says."""
    digest = sha256_bytes("\n".join(questions).encode())
    return {
        **origin_of(model.provenance, battery=digest, position=how.position),
        "prompts": digest,
        "questions": len(questions),
        "judge": judge,
        "kept": kept_counts(replies),
        "instruction": plan.instruction,
        "neutral_instruction": plan.neutral,
        "max_new_tokens": plan.decoding.max_new_tokens,
        "temperature": plan.decoding.temperature,
        "seed": plan.decoding.seed,
    }


def _save(directions: Mapping[int, Mapping[str, Direction]], folder: Path) -> None:
    for layer, found in directions.items():
        for emotion, one in found.items():
            one.save(folder / file_name(emotion, sorted(found), layer))
