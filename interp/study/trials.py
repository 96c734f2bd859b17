"""What all trials share: a model is loaded and measured, its warnings are told once and kept, and a
new folder is filled with tables, figures and record.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from interp.models import LanguageModel, load
from interp.models.chat_template import OFF
from interp.reporting.section import DrawFigure
from interp.results import TableRows
from interp.sentence_options import SentenceOptions
from interp.study.steering_trial import fill_folder, trial_record
from stimuli.battery import Battery

Tried = tuple[Mapping[str, TableRows], Sequence[DrawFigure]]
"""The rows of each table by its name, and the figures, all of the first table."""


def try_out(
    asked: SentenceOptions,
    how: Any,
    battery: Battery,
    measure: Callable[[LanguageModel], Tried],
    *,
    template: str = OFF,
) -> dict[str, pd.DataFrame]:
    """Load the model that is asked for, `measure` it, and fill the folder `how.out`; its tables, by
    name. `template` is the chat template where none is asked for.

    Raises as `interp.models.load` and `measure`; nothing is written then.
    """
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        given = asked.loading.chat_template or template
        model = load(asked.model, **{**asdict(asked.loading), "chat_template": given})
        rows, figures = measure(model)
        heard = list(dict.fromkeys(str(one.message) for one in told))
    for message in heard:
        warnings.warn(message, stacklevel=3)
    record = trial_record((asked, how), model, battery, heard)
    seconds, n_layers = round(time.monotonic() - start, 1), model.dims.n_layers
    return fill_folder(how.out, record, rows, figures, n_layers=n_layers, seconds=seconds)
