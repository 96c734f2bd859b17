"""A search of paths from names to files: a model, the twins of a battery, and a folder with table,
figure and record.
"""

import pandas as pd

import stimuli
from interp.causal.path_search import PathSearch, search_paths
from interp.errors import StatisticsError
from interp.evaluation.readouts import readout_for
from interp.files import check_new
from interp.models import LanguageModel
from interp.sentence_options import PathOptions
from interp.study.trials import Tried, try_out
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
    how = PathSearch(senders=asked.senders, position=asked.position, top=asked.top)

    def measure(model: LanguageModel) -> Tried:
        readout = readout_for(model, whole.emotions)
        rows = search_paths(model, (first, second), readout, how, seed=asked.seed)
        return {PATHS: rows}

    return try_out((asked,), battery, measure, template=None)[PATHS]
