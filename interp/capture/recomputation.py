"""Texts of a capture computed again, alone: the proof that batching changed nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from interp.capture.options import Options
from interp.capture.plan import Plan, PlannedText, identity, parse_positions
from interp.capture.positions import PositionRule
from interp.capture.recording.batches import finish, launch
from interp.capture.recording.engine import choose_engine, tolerance
from interp.capture.store.activation_store import ActivationStore
from interp.capture.store.folder import RunFolder
from interp.capture.store.sealed_json import differences
from interp.capture.store.shard import CHOSEN, text_rows
from interp.capture.store.shard_file import open_hdf5
from interp.capture.store.shard_record import ShardRecord
from interp.errors import ArtefactError
from interp.models import LanguageModel


def recompute_alone(
    store: ActivationStore, folder: RunFolder, model: LanguageModel, *, share: float
) -> dict[str, Any]:
    """A check row: the largest difference between stored and recomputed values, relative to a
    text's largest at the site.

    The sample is every n-th item of the store, at least one. Raises `ArtefactError` when `model` is
    not the one captured.
    """
    found = identity(model)
    if found != folder.head["config"]["model"]:
        told = (
            f"{folder.head['provenance'].get('model', {}).get('model')!r} was captured and "
            f"{model.name!r} was given"
        )
        others = "; ".join(differences(folder.head["config"]["model"], found))
        raise ArtefactError(
            f"cannot recompute {folder.path}: {told}; then and now, {others}. Give the model as "
            "it was captured: the same weights, precision and --chat-template."
        )
    options = Options(**folder.head["config"]["options"])
    rules = parse_positions(store.positions)
    wanted = set(store.items[:: max(1, round(1 / share))])
    worst, where, n = 0.0, "", 0
    engine, _ = choose_engine(model, store.sites, attention=options.attention)
    for record in folder.records.values():
        for text, stored in _stored(
            folder, record, [item for item in record.items if item in wanted], rules
        ):
            plan = Plan((text,), ((0,),), ((0,),), store.sites, rules, options, {})
            n += 1
            (underway,) = launch(model, engine, plan, [0])
            for name, array in finish(model, engine, plan, underway).arrays.items():
                error = float(
                    np.abs(stored[name] - array).max() / max(float(np.abs(array).max()), 1e-30)
                )
                worst, where = max((worst, where), (error, f"{text.id} at {name}"))
    bound = max(tolerance(model.precision), 1e-3 if options.storage == "float16" else 0.0)
    return {
        "check": "recompute",
        "passed": worst <= bound,
        "value": worst,
        "bound": bound,
        "detail": f"{n} items computed alone; largest difference: {where or 'none'}",
    }


def _stored(
    folder: RunFolder, record: ShardRecord, items: Sequence[str], rules: Sequence[PositionRule]
) -> list[tuple[PlannedText, dict[str, np.ndarray]]]:
    """Those of a shard's texts named in `items`, each with its activations by `SITE/POSITION`."""
    found = []
    with open_hdf5(folder.shard_path(record), verified=record.verified) as file:
        lengths = [int(length) for length in file["length"][...]]
        rows = {name: text_rows(name, lengths) for name in [*folder.arrays, "/all"]}
        for number in (record.items.index(item) for item in items):
            here = rows["/all"][number]
            chosen = tuple(
                np.flatnonzero(file[f"{CHOSEN}/{rule}"][here]) for rule in rules if rule.pooled
            )
            text = PlannedText(
                record.items[number],
                None,
                tuple(int(token) for token in file["token"][here]),
                chosen,
            )
            found.append(
                (
                    text,
                    {
                        name: file[name][rows[name][number]].astype(np.float32)
                        for name in folder.arrays
                    },
                )
            )
    return found
