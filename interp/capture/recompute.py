"""Recomputing a sample of a store's items alone, one text a batch: the proof that batching changed nothing."""

from typing import Any

import numpy as np

from interp.capture.batches import run_batch, text_rows
from interp.capture.engine import choose_engine, tolerance
from interp.capture.plan import IDENTITY, Options, Plan, PlannedText, parse_positions
from interp.capture.run_folder import RunFolder
from interp.capture.sealed import differences
from interp.capture.shard import CHOSEN, opened
from interp.capture.store import ActivationStore
from interp.errors import ArtefactError
from interp.models import LanguageModel


def recompute_alone(store: ActivationStore, folder: RunFolder, model: LanguageModel, *, share: float) -> dict[str, Any]:
    """A check row: the largest difference between stored and recomputed values, relative to a text's largest at the site.

    The sample is every n-th item of the store, at least one. Raises `ArtefactError` when `model` is not the one captured.
    """
    found = {key: model.provenance[key] for key in IDENTITY if key in model.provenance}
    if found != folder.head["config"]["model"]:
        told = f"{folder.head['provenance'].get('model', {}).get('model')!r} was captured and {model.name!r} was given"
        others = "; ".join(differences(folder.head["config"]["model"], found))
        raise ArtefactError(
            f"cannot recompute {folder.path}: {told}; then and now, {others}. Give the model as it was captured: the same "
            "weights, precision and --chat-template."
        )
    options = Options(**folder.head["config"]["options"])
    rules = parse_positions(store.positions)
    wanted = set(store.items[:: max(1, round(1 / share))])
    worst, where, n = 0.0, "", 0
    engine, _ = choose_engine(model, store.sites, attention=options.attention)
    for record in folder.records.values():
        with opened(folder.shard_path(record), verified=record.verified) as file:
            lengths = [int(n) for n in file["length"][...]]
            for number, (item, rows) in enumerate(zip(record.items, text_rows("/all", lengths), strict=True)):
                if item not in wanted:
                    continue
                chosen = tuple(np.flatnonzero(file[f"{CHOSEN}/{rule}"][rows]) for rule in rules if rule.pooled)
                text = PlannedText(item, None, tuple(int(token) for token in file["token"][rows]), chosen)
                plan = Plan((text,), ((0,),), ((0,),), store.sites, rules, options, {})
                n += 1
                for name, array in run_batch(model, engine, plan, [0]).joined().items():
                    stored = np.asarray(file[name][text_rows(name, lengths)[number]], dtype=np.float32)
                    error = float(np.abs(stored - array).max() / max(float(np.abs(array).max()), 1e-30))
                    worst, where = max((worst, where), (error, f"{item} at {name}"))
    bound = max(tolerance(model.precision), 1e-3 if options.storage == "float16" else 0.0)
    return {
        "check": "recompute",
        "passed": worst <= bound,
        "value": worst,
        "bound": bound,
        "detail": f"{n} items computed alone; largest difference: {where or 'none'}",
    }
