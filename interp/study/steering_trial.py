"""An evaluation of steering from names to files: the directions of a battery at several layers, the
prompts, the judges; and a folder with its tables, figure and record.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import stimuli
from interp.analysis.emotion_directions import usual_layer
from interp.causal.circuit import Circuit, load_circuits
from interp.errors import ArtefactError, DataError, UsageError
from interp.evaluation.judges import check_judges, judges_of
from interp.evaluation.readouts import find_testbed, readout_for
from interp.evaluation.steering import evaluate_steering
from interp.evaluation.steering_arms import Candidate, SteeringTrial
from interp.files import make_folder, read_regular, sha256_bytes, write_atomic
from interp.models import LanguageModel, load
from interp.models.generation import Decoding
from interp.options import flat
from interp.records import RunRecord, software
from interp.reporting.figures import as_bytes
from interp.reporting.section import DrawFigure
from interp.reporting.steerability import steering_map, steering_slopes
from interp.reporting.steering_pareto import steering_pareto
from interp.results import TableRows, table, table_bytes, table_path
from interp.sentence_options import SentenceOptions, TrialOptions
from interp.study.identity import plain
from interp.study.sheets import STEERED_TEXTS, check_sheet, write_sheet
from interp.study.sources import Wanted, fitted
from stimuli.battery import NEUTRAL, Battery, Stimulus, in_content_order

SCORES = "steering_scores"
"""The table of numbers; beside it stands that of the texts."""

TRIAL_FIGURES = (steering_pareto, steering_map, steering_slopes)
"""Its figures, all of the first table."""

INSTRUCTION = "Written by someone who is full of {emotion}: {text}"
"""How a model is asked in words, unless told otherwise. Testbeds do not know these words."""

NEUTRAL_TEXTS = 16
"""Neutral texts of the battery whose loss under steering is measured."""

_MOST = 1 << 24


def run_trial(asked: SentenceOptions, how: TrialOptions) -> dict[str, pd.DataFrame]:
    """Evaluate steering as asked, and fill the folder `how.out`; its tables, by name.

    Raises `ArtefactError` where the folder holds something, `UsageError` for a judge, layer,
    emotion or file that is not there; and as `evaluate_steering`.
    """
    check_new(how.out)
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
    start, heard = time.monotonic(), []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        template = asked.loading.chat_template or "off"
        model = load(asked.model, **{**asdict(asked.loading), "chat_template": template})
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
        )
        heard = list(dict.fromkeys(str(one.message) for one in told))
    for message in heard:
        warnings.warn(message, stacklevel=2)
    record = trial_record((asked, how), model, wanted.battery, heard)
    if how.sheet is not None:
        write_sheet(how.sheet, make_folder(how.out), found.texts, seed=asked.seed)
    seconds = round(time.monotonic() - start, 1)
    rows = {SCORES: found.rows, STEERED_TEXTS: found.texts}
    n_layers = model.dims.n_layers
    return fill_folder(how.out, record, rows, TRIAL_FIGURES, n_layers=n_layers, seconds=seconds)


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


def check_new(out: Path) -> None:
    """Raise `ArtefactError` for a folder that holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtefactError(f"{out} is there already and holds something: choose another --out.")


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


def trial_record(
    options: Sequence[Any], model: LanguageModel, battery: Battery, heard: Sequence[str]
) -> RunRecord:
    """What a trial was made of: its settings (but where it is written), model and battery, and the
    warnings that were given. The first of the `options` names the model and the seed.
    """
    asked, said = options[0], [flat(one) for one in options]
    joined = {name: value for one in said for name, value in one.items()}
    config = json.loads(json.dumps(joined, default=str))
    config = {name: value for name, value in config.items() if name not in ("out", "sheet")}
    told = {
        "model": model.provenance,
        "battery": {"sha256": battery.sha256},
        "software": software(),
    }
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return RunRecord(
        run=digest[:12],
        model=asked.model,
        battery=battery.name,
        seed=asked.seed,
        config=config,
        provenance=plain(told),
        warnings=tuple(heard),
    )


def fill_folder(
    out: Path,
    record: RunRecord,
    rows: Mapping[str, TableRows],
    figures: Sequence[DrawFigure] | Mapping[str, Sequence[DrawFigure]],
    *,
    n_layers: int,
    seconds: float,
) -> dict[str, pd.DataFrame]:
    """Fill the folder: tables, figures (of the first of them, or by the table that they are of),
    and last the record, which knows the tables' digests. Its tables, by name.
    """
    tables = {
        name: table((record.row(**row) for row in mine), n_layers=n_layers)
        for name, mine in rows.items()
    }
    data = {name: table_bytes(one) for name, one in tables.items()}
    make_folder(out / "tables")
    for name, content in data.items():
        write_atomic(table_path(out, name), content)
    first, folder = next(iter(tables)), make_folder(out / "figures")
    drawings = figures if isinstance(figures, Mapping) else {first: figures}
    for name, drawn in drawings.items():
        for draw in drawn:
            figure = draw(tables[name])
            for form in ("svg", "png"):
                write_atomic(folder / f"{draw.__name__}.{form}", as_bytes(figure, form))
    digests = {name: sha256_bytes(content) for name, content in data.items()}
    record.joined(tables=digests, seconds={first: seconds}).write(out / "run.json")
    return tables
