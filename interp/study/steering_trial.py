"""An evaluation of steering from names to files: the directions of a battery at several layers, the
prompts, the judges; and a folder with its tables, figure and record.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import stimuli
from interp.analysis.emotion_directions import usual_layer
from interp.capture.workers.signals import ended_by_signals
from interp.causal.circuit import Circuit, load_circuits
from interp.errors import DataError, UsageError
from interp.evaluation.judges import check_judges, judges_of
from interp.evaluation.readouts import find_testbed, readout_for
from interp.evaluation.steering import evaluate_steering
from interp.evaluation.steering_arms import Candidate, SteeringTrial
from interp.files import check_new, make_folder, read_regular, sha256_file
from interp.models import LanguageModel
from interp.models.generation import Decoding
from interp.records import software
from interp.sentence_options import SentenceOptions, TrialOptions
from interp.study.sheets import STEERED_TEXTS, check_sheet, write_sheet
from interp.study.sources import Wanted, fitted
from interp.study.trials import Tried, trial_config, try_out
from interp.study.unfinished import UNFINISHED, Unfinished
from stimuli.battery import NEUTRAL, Battery, Stimulus, in_content_order

SCORES = "steering_scores"
"""The table of numbers; beside it stands that of the texts."""

INSTRUCTION = "Written by someone who is full of {emotion}: {text}"
"""How a model is asked in words, unless told otherwise. Testbeds do not know these words."""

NEUTRAL_TEXTS = 16
"""Neutral texts of the battery whose loss under steering is measured."""

_MOST = 1 << 24


def run_trial(asked: SentenceOptions, how: TrialOptions) -> dict[str, pd.DataFrame]:
    """Evaluate steering as asked, and fill the folder `how.out`; its tables, by name. One that was
    stopped goes on from the arms that were written.

    Raises `ArtefactError` where the folder holds something else, `Interrupted` for a signal,
    `UsageError` for a judge, layer, emotion or file that is not there; and as `evaluate_steering`.
    """
    check_new(how.out, begun=UNFINISHED)
    if how.sheet is not None:
        check_sheet(how.sheet)
    check_judges(how.judge, asked.model)
    wanted = Wanted(
        model=asked.model, stimuli=asked.stimuli, arm=asked.arm, keep=not asked.no_cache
    )
    emotions = list(how.emotions) or wanted.emotions()
    wanted.check(emotions)
    prompts = prompts_of(asked.model, wanted.battery, how.prompts, n=how.n_prompts)
    circuits = {} if how.circuit is None else load_circuits(how.circuit)
    begun = Unfinished(how.out, **_question(asked, how, wanted.battery, prompts))

    def measure(model: LanguageModel) -> Tried:
        judges = judges_of(how.judge, model, readout_for(model, emotions))
        if not judges:
            raise UsageError(
                f"nobody would read the texts of {model.name}, which has no oracle: name --judge, "
                "such as forced_choice,masked:lexicon."
            )
        found = evaluate_steering(
            model,
            prompts,
            candidates_of(model, wanted, emotions, how.layers),
            judges,
            _trial(asked, how, circuits),
            neutral=_neutral(wanted.battery),
            keep=begun.about(model=model.provenance["digest"]).keep,
        )
        if how.sheet is not None:
            write_sheet(how.sheet, make_folder(how.out), found.texts, seed=asked.seed)
        return {SCORES: found.rows, STEERED_TEXTS: found.texts}

    with ended_by_signals(begun.how_to_go_on):
        tables = try_out((asked, how), wanted.battery, measure)
        begun.remove()
    return tables


def _question(
    asked: SentenceOptions, how: TrialOptions, battery: Battery, prompts: Sequence[str | Stimulus]
) -> dict[str, Any]:
    """What decides the texts and their numbers, but the model's weights."""
    read = [how.circuit] if how.circuit is not None else []
    return {
        "settings": trial_config((asked, how)),
        "battery": battery.sha256,
        "prompts": [one if isinstance(one, str) else one.id for one in prompts],
        "circuits": [sha256_file(path) for path in read],
        "software": software(),
    }


def prompts_of(model: str, battery: Battery, path: Path | None, *, n: int) -> list[str | Stimulus]:
    """The prompts: the lines of the file `path`; else of a testbed the neutral texts of its
    battery, of any other model the package's `openings`. The first `n` of them.
    """
    found: Sequence[str | Stimulus]
    if path is not None:
        found = _lines(path)
    elif find_testbed(model) is not None:
        found = in_content_order(item for item in battery if item.emotion == NEUTRAL)
    else:
        found = stimuli.prompts("openings")["plain"]
    return list(found[:n])


def arm_rows(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """What a person is told: of each arm, all emotions together, success by each judge, the overall
    score by the first, and what it costs.
    """
    told = scores[(scores["half"] == "report") & (scores["emotion"] == "all")]
    rows = []
    for control in dict.fromkeys(told[told["metric"] == "success"]["control"]):
        mine = told[told["control"] == control]
        success = mine[mine["metric"] == "success"]
        row: dict[str, Any] = {"arm": control or "direction"}
        row |= {
            one["judge"]: f"{one['value']:.3f} [{one['ci_low']:.3f}, {one['ci_high']:.3f}]"
            for _, one in success.iterrows()
        }
        prices = mine.drop_duplicates("metric").set_index("metric")["value"]
        names = ("overall", "perplexity_ratio", "relevance", "distinct_2", "broken")
        rows.append({**row, **{name: prices[name] for name in names if name in prices}})
    return rows


def _lines(path: Path) -> list[str]:
    try:
        lines = read_regular(path, most=_MOST).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read --prompts {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"--prompts {path} is not UTF-8 at byte {error.start}: convert it."
        ) from error
    return [line for line in lines if line.strip()]


def candidates_of(
    model: LanguageModel, wanted: Wanted, emotions: Sequence[str], layers: Sequence[int]
) -> list[Candidate]:
    """The directions of each layer; by default of the middle one and two thirds of the way up."""
    n = model.dims.n_layers
    chosen = layers or sorted({n // 2, usual_layer(n)})
    return [
        {emotion: source.directions[emotion] for emotion in emotions}
        for layer in chosen
        for source in [fitted(model, wanted.battery, arm=wanted.arm, layer=layer, keep=wanted.keep)]
    ]


def _trial(
    asked: SentenceOptions, how: TrialOptions, circuits: Mapping[str, Circuit]
) -> SteeringTrial:
    instruction = how.instruction
    if instruction is None and find_testbed(asked.model) is None:
        instruction = INSTRUCTION
    return SteeringTrial(
        scales=how.scales,
        unit=asked.unit,
        where=tuple(asked.where.split("+")),
        draws=how.draws,
        instruction=instruction,
        circuits=circuits,
        decoding=Decoding(
            max_new_tokens=asked.max_new_tokens, temperature=asked.temperature, seed=asked.seed
        ),
    )


def _neutral(battery: Battery) -> list[Stimulus]:
    return in_content_order(item for item in battery if item.emotion == NEUTRAL)[:NEUTRAL_TEXTS]
