"""capture: run a battery through a model once and keep what was asked for, resuming where an
earlier run stopped.
"""

from collections.abc import Sequence
from pathlib import Path

from interp.capture.options import Options
from interp.capture.plan import Plan, make_plan
from interp.capture.recording.recorder import Recorder
from interp.capture.reuse import Reuse
from interp.capture.store.activation_store import ActivationStore
from interp.capture.store.folder import RUN, RunFolder
from interp.capture.workers.executors import execute
from interp.files import make_folder
from interp.memory import keep_freed_memory
from interp.models import LanguageModel
from interp.sites import LAST, Site
from stimuli.battery import Battery


def capture(
    model: LanguageModel,
    battery: Battery,
    *,
    sites: Sequence[str | Site],
    positions: Sequence[str] = (LAST, "mean_content"),
    out: Path | str | None = None,
    options: Options | None = None,
) -> ActivationStore:
    """Activations of every text of `battery` at `sites` under each position rule, as a store that
    reads them by name.

    With `out` they are written there as shards while the work goes on, and the same call resumes
    it; without, they stay in memory. `options` say how it is made: who computes, what is copied
    from earlier captures, how many tokens a batch has, and more (see `Options`).

    Raises before the first text: `UsageError` (unknown site, layer, rule; a site that is not what
    its name says), `DataError` (text too long, rule without a token), `ArtefactError` (`out` holds
    another plan, or `reuse` cannot serve this one), `ResourceError` (cannot write, disk too small),
    `BusyError` (another process writes there). During the work: `DataError` (non-finite),
    `Interrupted` (a signal; what is finished is kept).
    """
    keep_freed_memory()
    if out is not None:
        make_folder(Path(out))
    how = options or Options()
    plan = make_plan(model, battery, sites=sites, positions=positions, options=how)
    held = Reuse.find(plan, how.reuse) if how.reuse and not _is_complete(out, plan) else None
    folder = Path(out) if out is not None else None
    return execute(Recorder(model, plan, held), folder, executor=how.executor)


def _is_complete(out: Path | str | None, plan: Plan) -> bool:
    """Whether `out` holds every shard of `plan` already."""
    if out is None or not (Path(out) / RUN).exists():
        return False
    return len(RunFolder(Path(out)).records) == len(plan.shards)
