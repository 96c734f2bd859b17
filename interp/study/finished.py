"""A finished run, opened for a further question: its record, its texts and its activations."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from interp.capture import ActivationStore
from interp.errors import DataError
from interp.options import build_record, options_of
from interp.records import RunRecord, software
from interp.settings import StudyOptions
from interp.study.config import read_settings_file
from interp.study.identity import plain
from interp.study.reading.place import open_record
from stimuli.battery import Battery


class OpenedRun(NamedTuple):
    """The record of a finished run, the texts that it read, and what it captured of them."""

    record: RunRecord
    battery: Battery
    store: ActivationStore

    @property
    def n_layers(self) -> int:
        """The layers of its model."""
        return int(self.store.provenance["n_layers"])


def open_run(run: Path) -> OpenedRun:
    """The run in a folder. Raises `ArtefactError` for a folder that holds none, or an incomplete
    capture, `DataError` where its battery is no longer what it read.
    """
    record = open_record(run)
    said = read_settings_file(run / "run.json", options_of(StudyOptions))
    asked = build_record(StudyOptions, {**said.values, "out": run})
    battery = asked.texts.read(asked.stimuli)
    if battery.sha256 != said.battery:
        raise DataError(
            f"{asked.stimuli} is not what {run} read (its digest is another one): put the battery "
            "back, or run it again."
        )
    return OpenedRun(record, battery, ActivationStore.open(run / "activations"))


def record_beside(
    opened: OpenedRun, config: Mapping[str, Any], *, seed: int, heard: Sequence[str]
) -> RunRecord:
    """The record of a further question that is asked of a run: its own settings beside the run's,
    the run's model and battery, and the warnings that were given.
    """
    told = plain({**opened.record.config, **config, "of_run": opened.record.run})
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    kept = {name: opened.record.provenance[name] for name in ("model", "battery")}
    return replace(
        opened.record,
        run=digest[:12],
        seed=seed,
        config=told,
        provenance={**kept, "software": software()},
        warnings=tuple(heard),
        verdict=(),
        answer={},
    )
