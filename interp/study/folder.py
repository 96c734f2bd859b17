"""Study: the folder that answers what a person asks, opened new, or resumed when it was asked the same."""

import hashlib
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.capture import ActivationStore, capture
from interp.capture.lock import locked
from interp.capture.run_folder import LOCK
from interp.errors import ArtefactError, BusyError, InternalError
from interp.files import make_folder
from interp.models import LanguageModel, load
from interp.models.conversations import prompt_of
from interp.results import RunRecord, read_record, software
from interp.sites import Site
from interp.study.conditions import FEWEST, Conditions, conditions
from interp.study.settings import Settings, last_token
from stimuli.battery import Battery, Pair, Stimulus, in_content_order


class Study:
    """One results folder at work: its settings, battery, record, and, when first asked for, the model and the store."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.battery = settings.read_battery()
        self._made = [path for path in (settings.out, settings.out / "run.json") if not path.exists()]
        self.out = make_folder(settings.out)
        self.tables = make_folder(self.out / "tables")
        self.record = self._open_record()
        self.chosen: dict[tuple[str, ...], tuple[Site, ...]] = {}
        """The sites that a set of pairs (their ids) chose, so that they are chosen once."""
        self._values: dict[tuple[Site, str], np.ndarray] = {}

    @cached_property
    def model(self) -> LanguageModel:
        """The language model, checked by its doctor; refused when a resumed run began with other weights."""
        settings = self.settings
        model = load(
            settings.model,
            device=settings.device,
            dtype=settings.dtype,
            offline=settings.offline,
            chat_template=settings.chat_template,
        )
        known = self.record.provenance.get("model")
        found = json.loads(json.dumps(model.provenance, default=str))
        if known is not None and known.get("weights") != found.get("weights"):
            raise ArtefactError(
                f"{self.out} was begun with other weights of {self.settings.model!r}: {known.get('weights')} then, "
                f"{found.get('weights')} now. Choose another --out."
            )
        if known is not None and known.get("revision") != found.get("revision"):
            warnings.warn(
                f"{settings.model!r} stands for another revision than when this run began ({known.get('revision')} then, "
                f"{found.get('revision')} now), with the same weights: pin it as NAME@REVISION.",
                stacklevel=2,
            )
        self.update(provenance={**self.record.provenance, "model": found})
        return model

    def take_back(self) -> None:
        """Remove what opening the run made, if it has no result yet: the command put right then finds no other run there."""
        activations = self.out / "activations"
        shared = self.settings.executor.startswith("shard:")  # others may be about to work here
        answered = any(self.tables.iterdir()) or (activations / "run.json").exists()
        if shared or answered or self.out / "run.json" not in self._made:
            return
        (self.out / "run.json").unlink(missing_ok=True)
        if activations.is_dir():
            with suppress(BusyError), locked(activations / LOCK):
                (activations / LOCK).unlink()
        for folder in (self.tables, activations, *(path for path in self._made if path == self.out)):
            with suppress(OSError):  # it holds something of somebody else's, or is not there
                folder.rmdir()

    @property
    def loaded(self) -> bool:
        """Whether the model was loaded."""
        return "model" in self.__dict__

    @cached_property
    def store(self) -> ActivationStore:
        """The captured activations, in `out/activations`; what is missing there is captured first.

        What the capture warned of, in whichever process and run, is warned of here.
        """
        settings = self.settings
        store = capture(
            self.model,
            self.battery,
            sites=settings.sites_of(self.model),
            positions=settings.positions_of(self.model),
            out=self.out / "activations",
            executor=settings.executor,
            reuse=settings.reuse,
            **settings.capture_options,
        )
        for text in store.warnings:
            if not any(known.endswith(f": {text}") for known in self.record.warnings):
                warnings.warn(text, stacklevel=2)
        return store

    @cached_property
    def conditions(self) -> Conditions:
        """What the battery forbids to ask, known before the model is loaded."""
        return conditions(self.battery, folds=self.settings.folds, model=self.settings.model)

    @property
    def position(self) -> str:
        """The rule that directions are read by: the text's last token, which is where the causal stages edit it. Under a chat
        template that is not the last token there is.
        """
        return last_token(self.model)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each item in what `values` gives."""
        return {item: row for row, item in enumerate(self.store.items)}

    @cached_property
    def pairs(self) -> list[Pair]:
        """The battery's twins that every stage works on. Left out, with a warning: those the capture put in quarantine, those
        that are the same tokens to this model, and those of an emotion with fewer than `FEWEST` scenarios. They
        are in the order of their content: what is drawn from them depends on no name and on no row's place.
        """
        refused = [item.id for item in self.battery if item.id in self.store.quarantined]
        _warn_of(refused, "or their twins have activations that are not finite (activations/quarantine.jsonl says where)")
        found = [pair for pair in self.battery.pairs() if {pair.affective.id, pair.neutral.id} <= self.row_of.keys()]
        tokens = self._tokens([pair.affective for pair in found]), self._tokens([pair.neutral for pair in found])
        same = [pair.affective.id for pair, one, other in zip(found, *tokens, strict=True) if one == other]
        _warn_of(same, "are the same tokens to this model as their twin")
        found = [pair for pair in found if pair.affective.id not in same]
        scenarios = {e: {p.affective.group for p in found if p.affective.emotion == e} for e in self.battery.emotions}
        rare = [emotion for emotion, groups in scenarios.items() if 0 < len(groups) < FEWEST]
        _warn_of(rare, f"have fewer than {FEWEST} scenarios")
        return in_content_order(pair for pair in found if pair.affective.emotion not in rare)

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """The emotions of `pairs`, sorted."""
        return tuple(sorted({pair.affective.emotion for pair in self.pairs}))

    def _tokens(self, items: Sequence[Stimulus]) -> list[list[int]]:
        settings = self.settings
        return self.model.tokenize(
            [prompt_of(item.text, item.fields, name=item.id) for item in items],
            ids=[item.id for item in items],
            truncate=settings.truncate,
            allow_special=settings.allow_special,
        )

    def values(self, site: Site, position: str) -> Float[np.ndarray, "item ..."]:
        """The activations of all items at a site, by a position rule; kept in memory, since every stage reads them again."""
        key = (site, position)
        if key not in self._values:
            self._values[key] = self.store.read(site, position).x
        return self._values[key]

    def update(self, **changes: Any) -> None:
        """Change fields of the record and write it."""
        self.record = RunRecord(**{**{name: getattr(self.record, name) for name in RunRecord.__slots__}, **changes})
        self.record.write(self.out / "run.json")

    def _open_record(self) -> RunRecord:
        path = self.out / "run.json"
        config = _asked(self.settings, self.battery)
        if path.exists():
            refuse_other_config(self.settings, self.battery)
            return read_record(path)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        record = RunRecord(
            run=digest[:12],
            model=self.settings.model,
            battery=self.battery.name,
            seed=self.settings.seed,
            config=config,
            provenance={"software": software(), "battery": _identify(self.battery), "command": sys.argv},
            warnings=self.battery.warnings,
        )
        record.write(path)
        return record


def _warn_of(names: Sequence[str], reason: str) -> None:
    if names:
        warnings.warn(f"left out, since they {reason}: {len(names)} ({', '.join(map(repr, names[:10]))}).", stacklevel=3)


def _identify(battery: Battery) -> dict[str, Any]:
    return {"sha256": battery.sha256, "items": len(battery), "notes": list(battery.notes)}


def refuse_other_config(settings: Settings, battery: Battery) -> None:
    """Raise `ArtefactError` where `out` holds a run with other settings, which are told."""
    if not (settings.out / "run.json").exists():
        return
    known, asked = read_record(settings.out / "run.json").config, _asked(settings, battery)
    if different := _different(known, asked):
        lines = "; ".join(f"{key}: {known.get(key)!r} there, {asked.get(key)!r} now" for key in different)
        raise ArtefactError(
            f"{settings.out} holds a run with other settings ({lines}). Choose another --out, give --new-run to begin one "
            "beside it, or repeat its settings."
        )


def _different(known: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({*known, *asked}) if known.get(key) != asked.get(key)]


def new_run(settings: Settings) -> Settings:
    """The same settings in the first of OUT, OUT-2, OUT-3, ... that is not there, or holds a run with these very settings."""
    config = _asked(settings, settings.read_battery())
    for number in count(1):
        out = settings.out if number == 1 else settings.out.with_name(f"{settings.out.name}-{number}")
        if not (out / "run.json").exists() or not _different(read_record(out / "run.json").config, config):
            return replace(settings, out=out)
    raise InternalError("numbers have come to an end.")


def _asked(settings: Settings, battery: Battery) -> dict[str, Any]:
    """What a run was asked, as its record keeps it."""
    return {**settings.identity, "battery_sha256": battery.sha256}
