"""A search of paths from names to files: a model, the twins of a battery, and a folder with table,
figure and record.
"""

import time
import warnings
from dataclasses import asdict

import pandas as pd

import stimuli
from interp.causal.path_search import PathSearch, search_paths
from interp.errors import StatisticsError
from interp.evaluation.readouts import readout_for
from interp.models import load
from interp.reporting.paths import path_map
from interp.sentence_options import PathOptions
from interp.study.steering_trial import check_new, fill_folder, trial_record
from stimuli.splits import balanced

PATHS = "paths"
"""The table of the folder."""


def run_paths(asked: PathOptions) -> pd.DataFrame:
    """Search paths, and fill the folder `asked.out`; its table.

    Raises `ArtefactError` where the folder holds something, `StatisticsError` for an emotion
    without twins in both halves; and as `search_paths`.
    """
    check_new(asked.out)
    battery = stimuli.load(asked.stimuli, emotions=asked.emotions or None)
    whole = battery.pairs()
    if not whole:
        raise StatisticsError(f"{asked.stimuli} has no twins: paths are patched between twins.")
    first, second = (
        balanced(half, n=asked.pairs * len(whole.emotions), seed=asked.seed)
        for half in whole.split(seed=asked.seed)
    )
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = load(asked.model, **asdict(asked.loading))
        readout = readout_for(model, whole.emotions)
        how = PathSearch(senders=asked.senders, position=asked.position, top=asked.top)
        rows = search_paths(model, (first, second), readout, how, seed=asked.seed)
        heard = list(dict.fromkeys(str(one.message) for one in told))
    for message in heard:
        warnings.warn(message, stacklevel=2)
    record = trial_record([asked], model, battery, heard)
    seconds, n_layers = round(time.monotonic() - start, 1), model.dims.n_layers
    tables = fill_folder(
        asked.out, record, {PATHS: rows}, (path_map,), n_layers=n_layers, seconds=seconds
    )
    return tables[PATHS]
