"""A dry run: what a run would do, in numbers, before anything is computed."""

from dataclasses import asdict
from pathlib import Path
from shutil import disk_usage
from typing import Any

from interp.capture.estimate import ARITHMETIC
from interp.capture.estimate import estimate_capture as plan_in_numbers
from interp.errors import UsageError
from interp.models import LanguageModel, load, outline
from interp.study.conditions import conditions
from interp.study.identity import refuse_other_config
from interp.study.measure import measure_stages
from interp.study.presets import left_out
from interp.study.runs import STAGE_FUNCTIONS, done_stages, stages_of
from interp.study.settings import Settings


def estimate(
    settings: Settings,
    *,
    teraflops: float | None = None,
    measured: bool = False,
) -> list[dict[str, Any]]:
    """What a run would do: the battery, the stages still to run, and the whole capture in numbers,
    what is there already or comes from `reuse` counted too. No weights are read or fetched, unless
    the seconds of each stage are to be `measured` (`interp.study.measure`): then the model is
    loaded. Nothing is written. Raises `ArtefactError` where the run would be refused, `UsageError`
    for both ways to tell time.
    """
    if measured and teraflops is not None:
        raise UsageError("--measure measures the speed that --teraflops tells: give one of them.")
    battery = settings.read_battery()
    refuse_other_config(settings, battery)
    asked = conditions(
        settings.captured(battery),
        folds=settings.folds,
        model=settings.model,
        across=settings.across,
    )
    whole = stages_of(settings)
    closed = asked.forbidden(whole, asked=False)
    to_run = [name for name in whole if name not in {*closed, *done_stages(settings.out)}]
    model = _loaded(settings, measured=measured)
    model.reading = settings.reading
    sites, positions = settings.sites_of(model), settings.captured_positions
    captured = plan_in_numbers(
        model,
        settings.captured(battery),
        sites=sites,
        positions=positions,
        teraflops=teraflops,
        options=settings.capture,
    )
    if measured:
        stages = {name: STAGE_FUNCTIONS[name] for name in to_run}
        captured = {what: value for what, value in captured.items() if what not in ARITHMETIC}
        captured |= measure_stages(settings, battery, model, stages=stages)
    told = {
        "items": len(battery),
        "pairs": len(battery.pairs()),
        "emotions": ", ".join(battery.emotions),
        "preset": settings.preset,
        **{f"preset {what}": _in_words(value) for what, value in asdict(settings.limits).items()},
        "left out by the preset": "; ".join(left_out(settings.limits, battery, model.dims.n_layers))
        or "nothing",
        **captured,
        "bytes free": disk_usage(_existing(settings.out)).free,
        "stages to run": ", ".join(to_run),
        **{
            f"not asked: {question}": reason
            for question, reason in {**closed, **asked.partly()}.items()
        },
    }
    return [{"what": what, "value": value} for what, value in told.items()]


def _loaded(settings: Settings, *, measured: bool) -> LanguageModel:
    """The model; without its weights, which then lie on no device, if nothing is measured."""
    if measured:
        return load(settings.model, **asdict(settings.loading))
    how = settings.loading
    return outline(
        settings.model, dtype=how.dtype, offline=how.offline, chat_template=how.chat_template
    )


def _in_words(value: Any) -> Any:
    """A limit of a preset for the eye."""
    if value is None:
        return "all"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def _existing(path: Path) -> Path:
    """The folder nearest above `path` that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
