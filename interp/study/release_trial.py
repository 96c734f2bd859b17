"""A trial of release from names to files: the directions of a battery, prompts, a judge, and a
folder with tables, figure and record.
"""

import pandas as pd

from interp.causal.steps import with_length
from interp.errors import UsageError
from interp.evaluation.forced_choice import forced_choice
from interp.evaluation.judges import judge_called, judge_for, oracle
from interp.evaluation.readouts import readout_for
from interp.evaluation.release import Judged, Release, release
from interp.files import check_new
from interp.models import LanguageModel
from interp.prompting_options import ReleaseOptions
from interp.sentence_options import SentenceOptions
from interp.study.sources import Wanted
from interp.study.steering_trial import prompts_of
from interp.study.trials import Tried, try_out

RELEASE, RELEASED_TEXTS = "release", "released_texts"
"""The table of numbers, and that of the texts."""


def run_release(asked: SentenceOptions, how: ReleaseOptions) -> pd.DataFrame:
    """Steer the first tokens of texts, let go, read on, and fill the folder `how.out`; its table of
    numbers. The judge is a testbed's oracle, else the unsteered model's forced choice.

    Raises `ArtefactError` where the folder holds something, `UsageError` for an emotion, layer or
    file that is not there, and for layers in the wrong order; and as `release`.
    """
    check_new(how.out)
    wanted = Wanted(
        model=asked.model, stimuli=asked.stimuli, arm=asked.arm, keep=not asked.no_cache
    )
    emotions = sorted(how.emotions or wanted.emotions())
    wanted.check(emotions)
    prompts = prompts_of(asked.model, wanted.battery, how.prompts, n=how.n_prompts)
    plan = Release(
        steered=how.steered,
        after=how.after,
        scale=asked.scale,
        unit=asked.unit,
        temperature=asked.temperature,
        seed=asked.seed,
    )

    def measure(model: LanguageModel) -> Tried:
        source = wanted.source(model, asked.layer)
        layer = how.read_layer
        if layer is None:
            layer = layer_to_read(source.layer, n_layers=model.dims.n_layers)
        found = wanted.source(model, layer).directions
        readers = with_length({one: found[one] for one in emotions})
        directions = {one: source.directions[one] for one in readers}
        told = release(model, prompts, directions, readers, usual_judge(model, emotions), plan)
        return {RELEASE: told.rows, RELEASED_TEXTS: told.texts}

    return try_out((asked, how), wanted.battery, measure)[RELEASE]


def layer_to_read(steered: int, *, n_layers: int) -> int:
    """The layer half of the way from the steered one to the last. Raises `UsageError` where there
    is none above.
    """
    last = n_layers - 1
    if steered >= last:
        raise UsageError(
            f"layer {steered} is the last one: later tokens cannot see what is added there. Steer "
            "at a lower one (--layer)."
        )
    return steered + (last - steered + 1) // 2


def usual_judge(model: LanguageModel, emotions: list[str]) -> Judged:
    """A testbed's oracle, else the unsteered model's forced choice among `emotions`."""
    own = judge_for(model)
    if own is not None:
        return oracle.__name__, own
    return "forced_choice", forced_choice(model, readout_for(model, emotions))


def chosen_judge(model: LanguageModel, emotions: list[str], name: str | None) -> Judged:
    """The judge of this name, which chooses among `emotions`; `usual_judge` where none is named."""
    if name is None:
        return usual_judge(model, emotions)
    return name, judge_called(name, model, readout_for(model, emotions))
