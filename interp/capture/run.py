"""capture: run a battery through a model once and keep what was asked for, resuming where an earlier run stopped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp.capture.plan import Options, Plan, make_plan
from interp.capture.recorder import Recorder
from interp.capture.reuse import Reuse
from interp.capture.store.activations import ActivationStore
from interp.capture.store.folder import RUN, RunFolder
from interp.capture.workers.executors import execute
from interp.files import make_folder
from interp.memory import keep_freed_memory
from interp.models import LanguageModel
from interp.models.texts.ends import LAST
from interp.sites import Site
from stimuli.battery import Battery


def capture(
    model: LanguageModel,
    battery: Battery,
    *,
    sites: Sequence[str | Site],
    positions: Sequence[str] = (LAST, "mean_content"),
    out: Path | str | None = None,
    executor: str = "serial",
    reuse: Sequence[Path | str] = (),
    **options: Any,
) -> ActivationStore:
    """Activations of every text of `battery` at `sites` under each position rule, as a store that reads them by name.

    With `out` they are written there as shards while the work goes on, and the same call resumes it; without, they stay in
    memory. `executor` says who computes (see `executors`): serial, processes:2, ray:2, or shard:0/4, one of four workers that
    share `out`. Texts that the captures in the folders `reuse` hold are copied from there (see `reuse`). `options` are the
    fields of `Options` (token_budget, storage, on_nonfinite, truncate, ...).

    Raises before the first text: `UsageError` (unknown site, layer, rule; a site that is not what
    its name says), `DataError` (text too long, rule without a token), `ArtefactError` (`out` holds
    another plan, or `reuse` cannot serve this one), `ResourceError` (cannot write, disk too small),
    `BusyError` (another process writes there). During the work: `DataError` (non-finite),
    `Interrupted` (a signal; what is finished is kept).
    """
    keep_freed_memory()
    if out is not None:
        make_folder(Path(out))
    plan = make_plan(model, battery, sites=sites, positions=positions, options=Options(**options))
    held = Reuse.find(plan, reuse) if reuse and not _is_complete(out, plan) else None
    return execute(Recorder(model, plan, held), Path(out) if out is not None else None, executor=executor)


def _is_complete(out: Path | str | None, plan: Plan) -> bool:
    """Whether `out` holds every shard of `plan` already."""
    if out is None or not (Path(out) / RUN).exists():
        return False
    return len(RunFolder(Path(out)).records) == len(plan.shards)
