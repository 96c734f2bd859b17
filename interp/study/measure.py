"""How long a study takes, measured: what its model does on a few real passes, times their number.

The causal stages are gone through by a `Rehearsal`, which counts the passes that they ask for; the
smallest and the largest of these are really run. All else that they do is done, and timed. Probes,
directions, cosines, geometry and contributions are done at one place and at two (of contributions:
for one emotion and for two, with the passes by which they choose where to read), on made-up
activations; the rest is their number.
"""

import io
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from interp.capture.estimate import measured_capture, seconds_by_work
from interp.errors import DataError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.models.counted import Counted, PassShape
from interp.study import probing, representation
from interp.study.folder import Study
from interp.study.rehearsal import Rehearsal
from interp.study.settings import Settings
from stimuli.battery import Battery

StageFunction = Callable[[Study], list[dict[str, Any]]]


class Units(NamedTuple):
    """What a stage does again and again: what it is called, what a rehearsal is given few of, and
    how many a study has.
    """

    name: str
    few: str
    count: Callable[[Study], int]


STAGE_UNITS: Mapping[str, Units] = {
    "probes": Units("places", "layers", lambda study: len(probing.probed(study))),
    "directions": Units("places", "layers", lambda study: len(representation.stream_sites(study))),
    "cosines": Units("places", "layers", lambda study: len(representation.stream_sites(study))),
    "geometry": Units("places", "layers", lambda study: len(representation.stream_sites(study))),
    "contributions": Units("emotions", "emotions", lambda study: len(study.emotions)),
}
"""The stages that are done few times, and counted."""

HOW = (
    "by real passes of the smallest and of the largest shape of each stage, {device}, {dtype}, one "
    "worker. What a stage does beside them was done, on made-up activations. Where an earlier "
    "result decides (which layers tell twins apart equally well, which heads and neurons are "
    "knocked out, where a continuation ends), it is about the most that there can be. Loading the "
    "model, reading and writing files, and the figures are not in it."
)


def measure_stages(
    settings: Settings,
    battery: Battery,
    model: LanguageModel,
    *,
    stages: Mapping[str, StageFunction],
) -> dict[str, Any]:
    """Passes, batches or places of each of `stages`, and seconds; of all together; and how that was
    measured. A stage that would be left out says why, in the place of its seconds.
    """
    told: dict[str, Any] = {}
    whole = 0.0
    with TemporaryDirectory() as folder, _silence():
        rehearse = _Rehearsals(settings, battery, Counted(model), Path(folder))
        for name, stage in stages.items():
            try:
                what, number, seconds = rehearse.measured(name, stage)
            except (StatisticsError, UsageError, DataError) as error:
                told[f"seconds: {name}"] = f"0, since it would be left out: {error}"
                continue
            told |= {f"{what}: {name}": number, f"seconds: {name}": round(seconds, 2)}
            whole += seconds
    how = HOW.format(device=model.device, dtype=str(model.dtype).removeprefix("torch."))
    return {**told, "seconds: whole study": round(whole, 2), "how it was measured": how}


class _Rehearsals:
    """Rehearsals of one study: a whole one, which the causal stages share, and small ones."""

    def __init__(self, settings: Settings, battery: Battery, model: Counted, out: Path) -> None:
        self._asked = (settings, battery, model)
        self._out = out
        self._model = model
        self._whole = Rehearsal(*self._asked, out=out)

    def measured(self, name: str, stage: StageFunction) -> tuple[str, int, float]:
        """What a stage does many times, how often, and the seconds of the stage."""
        if name == "capture":
            return ("batches", *self._capture())
        if name in STAGE_UNITS:
            return (STAGE_UNITS[name].name, *self._by_count(stage, STAGE_UNITS[name]))
        seconds, passes = self._gone_through(stage, self._whole)
        return "passes", len(passes), seconds + seconds_of(self._model.real, passes)

    def _capture(self) -> tuple[int, float]:
        settings, study = self._whole.settings, self._whole
        return measured_capture(
            self._model.real,
            study.captured,
            sites=study.sites,
            positions=settings.captured_positions,
            options=settings.capture,
        )

    def _by_count(self, stage: StageFunction, units: Units) -> tuple[int, float]:
        """The number of units, and the seconds of all, from one and from two. The first time is not
        counted: much is read and made once.
        """
        counts, taken = [], []
        for few in (1, 1, 2):
            asked: dict[str, Any] = {units.few: few}
            small = Rehearsal(*self._asked, out=self._out, **asked)
            counts.append(units.count(small))
            seconds, passes = self._gone_through(stage, small)
            taken.append(seconds + (seconds_of(self._model.real, passes) if passes else 0.0))
        number = units.count(self._whole)
        each = max(0.0, taken[2] - taken[1]) / max(counts[2] - counts[1], 1)
        return number, taken[1] + each * (number - counts[1])

    def _gone_through(
        self, stage: StageFunction, study: Rehearsal
    ) -> tuple[float, Sequence[PassShape]]:
        """Seconds of a stage without its passes, and these."""
        before, start = len(self._model.passes), time.perf_counter()
        stage(study)
        return time.perf_counter() - start, self._model.passes[before:]


def seconds_of(model: LanguageModel, passes: Sequence[PassShape]) -> float:
    """Seconds of `passes`, from those with the least and with the most tokens x blocks."""
    work = [one.rows * one.columns * (model.dims.n_layers - one.lowest) for one in passes]
    return seconds_by_work(work, lambda number: seconds_of_pass(model, passes[number]))


def seconds_of_pass(model: LanguageModel, shape: PassShape) -> float:
    """Seconds of one real pass of this shape, over random tokens; its cache is made before."""
    rows, columns, before, lowest = shape
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(model.dims.d_vocab, (rows, before + columns), generator=draw)
    mask = torch.ones(rows, before + columns, dtype=torch.bool)
    cache, begin = None, None
    if before:
        _, cache = model.resume(ids[:, :before], mask[:, :before])
    if lowest:
        stream = torch.randn(rows, columns, model.dims.d_model, generator=draw)
        begin = model.begin(lowest, stream.to(model.device, model.dtype))
    _wait(model.device)
    start = time.perf_counter()
    model.resume(ids[:, before:], mask, cache, begin=begin)
    _wait(model.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _silence() -> Iterator[None]:
    """No progress and no warnings: they would speak of numbers that are made up."""
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
