"""A trial of introspection from names to files: the directions of a battery, its twins, and a
folder with table, figures and record.
"""

import pandas as pd

from interp.errors import UsageError
from interp.evaluation.introspection import introspect, questions_of
from interp.evaluation.readouts import find_testbed, readout_for
from interp.files import check_new
from interp.models import LanguageModel
from interp.sentence_options import IntrospectionOptions, SentenceOptions
from interp.study.sources import Wanted
from interp.study.steering_trial import candidates_of
from interp.study.trials import Tried, try_out
from stimuli.battery import Pairs
from stimuli.splits import balanced

ANSWERS = "introspection"
"""The table of the folder."""


def run_introspection(asked: SentenceOptions, how: IntrospectionOptions) -> pd.DataFrame:
    """Ask about added directions, and fill the folder `how.out`; its table.

    Raises `ArtefactError` where the folder holds something, `UsageError` for a testbed, which knows
    no English, and for a layer or emotion that is not there; and as `introspect`.
    """
    check_new(how.out)
    if find_testbed(asked.model) is not None:
        raise UsageError(f"{asked.model} is a testbed and knows no questions: name another model.")
    wanted = Wanted(
        model=asked.model, stimuli=asked.stimuli, arm=asked.arm, keep=not asked.no_cache
    )
    emotions = sorted(how.emotions or wanted.emotions())
    wanted.check(emotions)
    twins = [one for one in wanted.battery.pairs() if one.affective.emotion in emotions]
    pairs = balanced(twins, n=how.n_pairs, seed=asked.seed)

    def measure(model: LanguageModel) -> Tried:
        rows = introspect(
            model,
            Pairs(pairs).split(seed=asked.seed),
            candidates_of(model, wanted, emotions, how.layers),
            questions_of(readout_for(model, emotions).words),
            scales=how.scales,
            unit=asked.unit,
            seed=asked.seed,
        )
        return {ANSWERS: rows}

    return try_out((asked, how), wanted.battery, measure)[ANSWERS]
