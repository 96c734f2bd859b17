"""What all trials share: a model is loaded and measured, its warnings are told once and kept, and a
new folder is filled with tables, figures and record.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from interp.files import make_folder, sha256_bytes, write_atomic
from interp.models import LanguageModel, load
from interp.models.chat_template import OFF
from interp.options import flat
from interp.records import RunRecord, software
from interp.reporting.figures import draw_all
from interp.reporting.trial_figures import figures_of
from interp.results import TableRows, table, table_bytes, table_path
from interp.study.identity import plain
from stimuli.battery import Battery

Tried = Mapping[str, TableRows]
"""The rows of each table by its name; the first one is what was measured."""


def try_out(
    options: Sequence[Any],
    battery: Battery,
    measure: Callable[[LanguageModel], Tried],
    *,
    template: str | None = OFF,
) -> dict[str, pd.DataFrame]:
    """Load the model that is asked for, `measure` it, and fill a folder; its tables, by name.

    The first of the `options` names the model and the seed, the last one the folder (`out`).
    `template` is the chat template where none is asked for. Raises as `interp.models.load` and
    `measure`; nothing is written here then.
    """
    asked, start = options[0], time.monotonic()
    with heard_once() as heard:
        given = asked.loading.chat_template or template
        model = load(asked.model, **{**asdict(asked.loading), "chat_template": given})
        rows = measure(model)
    record = trial_record(options, model, battery, heard)
    n_layers = model.dims.n_layers
    return fill_folder(options[-1].out, record, rows, n_layers=n_layers, start=start)


@contextmanager
def heard_once() -> Iterator[list[str]]:
    """Behind the block each of its warnings is told once; the list holds them then."""
    heard: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield heard
        heard += dict.fromkeys(str(one.message) for one in told)
    for message in heard:
        warnings.warn(message, stacklevel=3)


def trial_config(options: Sequence[Any]) -> dict[str, Any]:
    """The settings of a trial as plain JSON, but where it is written."""
    said = [flat(one) for one in options]
    joined = {name: value for one in said for name, value in one.items()}
    config = json.loads(json.dumps(joined, default=str))
    return {name: value for name, value in config.items() if name not in ("out", "sheet")}


def trial_record(
    options: Sequence[Any], model: LanguageModel, battery: Battery, heard: Sequence[str]
) -> RunRecord:
    """What a trial was made of: its settings (but where it is written), model and battery, and the
    warnings that were given. The first of the `options` names the model and the seed.
    """
    asked, config = options[0], trial_config(options)
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
    rows: Tried,
    *,
    n_layers: int,
    start: float,
) -> dict[str, pd.DataFrame]:
    """Fill the folder: tables, their figures (`TRIAL_FIGURES`), and last the record, which knows
    the tables' digests, and how long the work took that began at `start` (`time.monotonic`). Its
    tables, by name.
    """
    seconds = round(time.monotonic() - start, 1)
    tables = {
        name: table((record.row(**row) for row in mine), n_layers=n_layers)
        for name, mine in rows.items()
    }
    data = {name: table_bytes(one) for name, one in tables.items()}
    make_folder(out / "tables")
    for name, content in data.items():
        write_atomic(table_path(out, name), content)
    draw_all(tables, out / "figures", figures=figures_of(tables))
    first = next(iter(tables))
    digests = {name: sha256_bytes(content) for name, content in data.items()}
    record.joined(tables=digests, seconds={first: seconds}).write(out / "run.json")
    return tables
