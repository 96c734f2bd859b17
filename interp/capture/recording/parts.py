"""Parts: what an interrupted run left of a shard, read again so that it need not be computed."""

import warnings

from interp.capture.plan import Plan
from interp.capture.recording.gathering import Recorded
from interp.capture.store.folder import RunFolder
from interp.capture.store.shard_file import open_hdf5
from interp.capture.store.shard_record import ShardRecord
from interp.errors import ArtefactError


def read_begun(plan: Plan, folder: RunFolder, index: int) -> Recorded | None:
    """What an interrupted run left of the shard `index`; None where there is nothing, or nothing
    that can be used, which is warned of.
    """
    part = folder.parts.get(index)
    if part is None:
        return None
    try:
        return _read(plan, folder, part)
    except ArtefactError as error:
        warnings.warn(
            f"what was begun of shard {index} cannot be used, and is computed again: {error}",
            stacklevel=2,
        )
        return None


def _read(plan: Plan, folder: RunFolder, part: ShardRecord) -> Recorded:
    if lost := [item for item in part.nonfinite if item not in folder.quarantined]:
        raise ArtefactError(f"the quarantine does not name {', '.join(map(repr, lost[:5]))}.")
    with open_hdf5(folder.shard_path(part), verified=part.verified) as file:
        arrays = {
            f"{site}/{rule}": file[f"{site}/{rule}"][...]
            for site in plan.sites
            for rule in plan.positions
        }
    refused = [folder.quarantined[item] for item in part.nonfinite]
    return Recorded(
        list(part.places),
        arrays,
        list(part.batches),
        refused,
        list(part.reused),
        list(part.sources),
    )
