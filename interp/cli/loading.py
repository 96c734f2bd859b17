"""Names that nothing has, refused at once: what loads a model takes seconds to import."""

from pathlib import Path
from typing import Any

import stimuli
from interp.files import check_new, check_out
from interp.settings import StudyOptions
from interp.sites import check_names


def load_model(name: str, **how: Any) -> Any:
    """The model of this name; `how` and what is raised is that of `interp.models.load`."""
    from interp.models.loading.names import resolve

    resolve(name)
    from interp import models

    return models.load(name, **how)


def refuse_at_once(
    out: Path, model: str | None = None, battery: str | None = None, *, begun: str | None = None
) -> None:
    """Raise `UsageError` for a model or a battery that does not exist, `ArtefactError` for a folder
    that holds something and is not `begun` (`files.check_new`).
    """
    from interp.models.loading.names import resolve

    check_new(out, begun=begun)
    if battery is not None:
        stimuli.battery_path(battery)
    if model is not None:
        resolve(model)


def refuse_unknown(asked: StudyOptions) -> None:
    """Raise `UsageError` for a battery, a site or a model of a new run that does not exist,
    `ResourceError` for a folder that cannot be.

    A run that was begun may be looked at where its model is no longer.
    """
    from interp.models.loading.names import resolve

    stimuli.battery_path(asked.stimuli)
    check_names(asked.sites)
    check_out(asked.out)
    if not (asked.out / "run.json").exists():
        resolve(asked.model)
