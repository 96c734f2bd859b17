"""What a run was asked, and with which model: a resumed run is the same, or it is refused."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from interp.capture.plan import IDENTITY
from interp.errors import ArtefactError, InternalError
from interp.records import read_record
from interp.study.settings import Settings
from stimuli.battery import Battery

_NAMES = {
    "config_digest": "configuration",
    "tokenizer_digest": "tokenizer",
    "chat_template": "chat template",
}


def refuse_other_model(
    known: Mapping[str, Any], found: Mapping[str, Any], *, out: Path, was: str = "was begun"
) -> None:
    """Raise `ArtefactError` where two models' identities differ; what `known` lacks is not
    asked. `was` is what happened to `out` with the model that is known.
    """
    other = [key for key in IDENTITY if key in known and known[key] != found.get(key)]
    if other:
        names = ", ".join(_NAMES.get(key, key) for key in other)
        told = "; ".join(
            f"{_NAMES.get(key, key)}: {known[key]} then, {found.get(key)} now" for key in other
        )
        raise ArtefactError(
            f"{out} {was} with other {names} of {found.get('model')!r} ({told}). Choose "
            "another --out, or put the model back."
        )


def warn_of_revision(known: Mapping[str, Any], found: Mapping[str, Any], *, name: str) -> None:
    """Warn where the model's name stands for another revision with the same weights."""
    then, now = known.get("revision"), found.get("revision")
    if then != now:
        warnings.warn(
            f"{name!r} stands for another revision than when this run began ({then} then, {now} "
            "now), with the same weights: pin it as NAME@REVISION.",
            stacklevel=3,
        )


def plain(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance as JSON gives it back."""
    return json.loads(json.dumps(provenance, default=str))


def refuse_other_config(settings: Settings, battery: Battery) -> None:
    """Raise `ArtefactError` where `out` holds a run with other settings, which are told."""
    if not (settings.out / "run.json").exists():
        return
    known, asked = _known(settings.out), asked_of(settings, battery)
    if lines := told_differences(known, asked, then="there"):
        raise ArtefactError(
            f"{settings.out} holds a run with other settings ({lines}). Choose another --out, "
            "give --new-run to begin one beside it, or repeat its settings."
        )


def _known(out: Path) -> dict[str, Any]:
    """What the run in `out` was asked; a setting that an older record lacks had its default."""
    return {**Settings.usual(), **read_record(out / "run.json").config}


def told_differences(known: Mapping[str, Any], asked: Mapping[str, Any], *, then: str) -> str:
    """The settings that differ, as text, each with both values; empty where none does."""
    return "; ".join(
        f"{key}: {known.get(key)!r} {then}, {asked.get(key)!r} now"
        for key in _different(known, asked)
    )


def _different(known: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({*known, *asked}) if known.get(key) != asked.get(key)]


def new_run(settings: Settings) -> Settings:
    """The same settings in the first of OUT, OUT-2, OUT-3, ... that is not there, or holds a run
    with these very settings.
    """
    config = asked_of(settings, settings.read_battery())
    for number in count(1):
        out = (
            settings.out if number == 1 else settings.out.with_name(f"{settings.out.name}-{number}")
        )
        if not (out / "run.json").exists() or not _different(_known(out), config):
            return replace(settings, out=out)
    raise InternalError("numbers have come to an end.")


def identify(battery: Battery) -> dict[str, Any]:
    """The identity of a battery, as a record keeps it."""
    return {"sha256": battery.sha256, "items": len(battery), "notes": list(battery.notes)}


def asked_of(settings: Settings, battery: Battery) -> dict[str, Any]:
    """What a run was asked, as its record keeps it."""
    return {**settings.identity, "battery_sha256": battery.sha256}
