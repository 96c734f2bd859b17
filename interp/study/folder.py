"""Study: the folder that answers what a person asks, opened new, or resumed when it was asked the
same. Several commands may work in it; `locks` keeps them from spoiling each other's work.
"""

import hashlib
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.analysis.targets import classes_of, soft_of, target_of
from interp.capture import Activations, ActivationStore, capture
from interp.capture.store.activations import Twins
from interp.capture.store.folder import LOCK
from interp.capture.store.lock import locked
from interp.causal.readout import Readout, TokenReadout
from interp.causal.spans import check_spans
from interp.errors import BusyError
from interp.evaluation.readouts import readout_for
from interp.files import make_folder
from interp.models import LanguageModel, load
from interp.models.checks.reliance import tell_refused, usable
from interp.options import flat
from interp.records import RunRecord, read_record, software
from interp.results import TableRows
from interp.settings import DEFAULT_SITES
from interp.sites import LAST, Site
from interp.study.conditions import Conditions, conditions, unreadable
from interp.study.examples import examples
from interp.study.identity import (
    asked_of,
    identify,
    plain,
    refuse_other_config,
    refuse_other_model,
    warn_of_revision,
)
from interp.study.inputs import Inputs, files_of
from interp.study.locks import FolderLocks
from interp.study.presets import left_out
from interp.study.registration import Registration, refuse_late, registration_of
from interp.study.settings import REPEATED, Settings
from interp.study.twins import usable_pairs
from stimuli.battery import Battery, Pairs

KEPT_BYTES = 256 << 20
"""Activations that a study keeps in memory."""


class Study:
    """One results folder at work: its settings, battery, record, and, when first asked for, the
    model and the store. `leave` it when the work is done.
    """

    def __init__(self, settings: Settings, registration: Registration | None = None) -> None:
        self._take(settings, settings.read_battery())
        if registration is not None:
            registration.refuse_other(settings, self.battery)
        self.inputs = Inputs()
        self.inputs.watch(files_of(settings))
        self._examples = examples(self.captured)  # refuses broken pairs before anything is made
        twins = [text for pair in self.captured.pairs() for text in pair]
        check_spans(twins, settings.patch_positions)
        self._made = [] if settings.out.exists() else [settings.out]
        self.out = make_folder(settings.out)
        self.locks = FolderLocks(self.out)
        try:
            self.tables = make_folder(self.out / "tables")
            self.record = self._open_record(registration)
        except BaseException:
            self.locks.leave()
            raise

    def _take(self, settings: Settings, battery: Battery) -> None:
        """What is asked, of which texts; nothing is computed yet."""
        self.settings = settings
        self.battery = battery
        self.chosen: dict[tuple[str, ...], tuple[Site, ...]] = {}
        """The sites that a set of pairs (their ids) chose; they are chosen once."""
        self.captured = settings.captured(battery)
        """The texts that are captured: all of the battery, or those that the preset keeps."""
        self.targets = [target_of(name, self.captured.items) for name in settings.targets]
        self.soft = soft_of(settings.soft, self.captured.items) if settings.soft else None
        self.across = [classes_of(name, self.captured.items) for name in settings.across]
        self._read: dict[tuple[Site, str], Activations] = {}
        self.random_store: ActivationStore | None = None  # of `interp.study.control_model`
        self.beside: dict[str, TableRows] = {}
        """Rows of further tables that the stage at work leaves (`Stage.beside`)."""

    def leave(self) -> None:
        """Give the folder back to other commands."""
        self.locks.leave()

    @cached_property
    def model(self) -> LanguageModel:
        """The language model, checked by its doctor; refused when a resumed run began with another
        one. The record says which it is once the store was opened.
        """
        settings = self.settings
        model = load(settings.model, **asdict(settings.loading))
        model.reading = settings.reading
        known, found = self.record.provenance.get("model"), plain(model.provenance)
        if known is not None:
            refuse_other_model(known, found, out=self.out)
            warn_of_revision(known, found, name=settings.model)
        if registration := registration_of(self.record, self.out):
            mine = registration.content["model"]
            refuse_other_model(mine, found, out=self.out, was="was registered")
        self.inputs.watch_model(settings.model, model.provenance)
        return model

    def take_back(self) -> None:
        """Remove what opening the run made, if it has no result yet and nobody else works there:
        the command put right then finds no other run there.
        """
        activations = self.out / "activations"
        # others may be about to work here
        shared = self.settings.capture.executor.startswith("shard:")
        if shared or self.out / "run.json" not in self._made or not self.locks.alone():
            return
        if (activations / "run.json").exists() or (
            self.tables.is_dir() and any(self.tables.iterdir())
        ):
            return
        (self.out / "run.json").unlink(missing_ok=True)
        if activations.is_dir():
            with suppress(BusyError), locked(activations / LOCK):
                (activations / LOCK).unlink()
        self.locks.remove()
        mine = [path for path in self._made if path == self.out]
        for folder in (self.tables, activations, *mine):
            with suppress(OSError):  # it holds something of somebody else's, or is not there
                folder.rmdir()

    @property
    def loaded(self) -> bool:
        """Whether the model was loaded."""
        return "model" in self.__dict__

    @cached_property
    def sites(self) -> list[Site]:
        """The sites to capture. Of the usual ones, those that are not what their names say in this
        model are left out, with a warning; what was named is taken as it is, or refused.
        """
        asked = self.settings.sites_of(self.model)
        if self.settings.sites != DEFAULT_SITES:
            return asked
        found, refused = usable(self.model, "capture", asked)
        if refused and found:
            warnings.warn(tell_refused(refused), stacklevel=2)
        return found or asked

    @cached_property
    def store(self) -> ActivationStore:
        """The captured activations, in `out/activations`; what is missing there is captured first.

        What the capture warned of, in whichever process and run, is warned of here.
        """
        settings = self.settings
        store = capture(
            self.model,
            self.captured,
            sites=self.sites,
            positions=settings.captured_positions,
            out=self.out / "activations",
            options=settings.capture,
        )
        if "model" not in self.record.provenance:
            absent = left_out(settings.limits, self.battery, self.model.dims.n_layers)
            preset = {"name": settings.preset, "left_out": absent}
            self.keep(model=plain(self.model.provenance), preset=preset)
        for text in store.warnings:
            if not any(known.endswith(f": {text}") for known in self.record.warnings):
                warnings.warn(text, stacklevel=2)
        return store

    @cached_property
    def conditions(self) -> Conditions:
        """What the battery forbids to ask, known before the model is loaded."""
        own = self.settings
        return conditions(self.captured, folds=own.folds, model=own.model, across=own.across)

    @property
    def position(self) -> str:
        """The rule that directions are read by: the text's last token, which is where the causal
        stages edit it. It is not always the last token there is (`interp.models.texts.ends`).
        """
        return LAST

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each item in what `values` gives."""
        return {item: row for row, item in enumerate(self.store.items)}

    @cached_property
    def pairs(self) -> Pairs:
        """The battery's twins that every stage works on (`interp.study.twins`)."""
        return usable_pairs(
            self.captured, self.model, read=self.row_of, quarantined=self.store.quarantined
        )

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """The emotions of `pairs`, sorted."""
        return self.pairs.emotions

    @cached_property
    def readout(self) -> TokenReadout:
        """The words by which the model is asked for the emotions, in its tokens. An emotion without
        words is left out, with a warning; so is a word that the vocabulary lacks.
        """
        known = readout_for(self.model, self.emotions)
        lost = unreadable(self.model, self.emotions)
        kept = {emotion: words for emotion, words in known.words.items() if emotion not in lost}
        return Readout(kept, known.suffix).bind(self.model)

    def unheard(self, sites: tuple[Site, ...]) -> Site:
        """Where contributions are read if it cannot be asked which of `sites` the model listens to:
        the middle one.
        """
        return sites[len(sites) // 2]

    @property
    def asked(self) -> dict[str, Any]:
        """What the record is to know of the words that were asked for; nothing where none were."""
        return {"readout": self.readout.described(self.model)} if "readout" in self.__dict__ else {}

    def values(self, site: Site, position: str) -> Float[np.ndarray, "item ..."]:
        """The activations of all items at a site, by a position rule."""
        return self._activations(site, position).x

    def twins(self, site: Site, pairs: Pairs) -> Twins:
        """What a site holds at the last token of the pairs' affective and neutral texts."""
        return self._activations(site, self.position).twins(pairs)

    def _activations(self, site: Site, position: str) -> Activations:
        """Those read last stay in memory, up to `KEPT_BYTES`, since a stage reads them again."""
        key = (site, position)
        found = self._read.pop(key) if key in self._read else self.store.read(site, position)
        self._read[key] = found  # the newest is last
        while len(self._read) > 1 and sum(one.x.nbytes for one in self._read.values()) > KEPT_BYTES:
            self._read.pop(next(iter(self._read)))
        return found

    def forget_read(self) -> None:
        """Keep nothing in memory of what was read of the store: it is read again where it is asked
        for.
        """
        self._read.clear()

    def judge(self, verdict: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> None:
        """Write what may be said of the claims of all tables there are, and what they answer."""
        path = self.out / "run.json"
        with self.locks.record():
            there = read_record(path)
            self.record = replace(there, verdict=tuple(verdict), answer=answer)
            if self.record != there:
                self.record.write(path)

    def keep(self, *, warnings: Sequence[str] = (), **provenance: Any) -> None:
        """Add to the record (see `RunRecord.joined`), whatever other commands have added to it.

        Raises `ArtefactError` where another command began this run with another model.
        """
        path = self.out / "run.json"
        with self.locks.record():
            there = read_record(path) if path.exists() else self.record
            known, found = there.provenance.get("model"), provenance.get("model")
            if known is not None and found is not None:
                refuse_other_model(known, found, out=self.out)
                del provenance["model"]  # it is written once
            self.record = there.joined(warnings=warnings, **provenance)
            if self.record != there or not path.exists():
                self.record.write(path)

    def _open_record(self, registration: Registration | None) -> RunRecord:
        path = self.out / "run.json"
        config = asked_of(self.settings, self.battery)
        with self.locks.record():
            if path.exists():
                refuse_other_config(self.settings, self.battery)
                record = read_record(path)
                refuse_late(record, registration, out=self.out)
                return record
            digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
            values = flat(self.settings)
            identity: dict[str, Any] = {
                "software": software(),
                "battery": identify(self.battery),
                "examples": self._examples,
                "command": sys.argv,
                "aside": {name: values[name] for name in REPEATED},
            }
            doubts = self.battery.warnings
            if registration is not None:
                identity["registration"] = registration.sealed
                doubts = (*doubts, *registration.other_versions())
            record = RunRecord(
                run=digest[:12],
                model=self.settings.model,
                battery=self.battery.name,
                seed=self.settings.seed,
                config=config,
                provenance=plain({**identity, "tables": {}}),
                warnings=doubts,
            )
            record.write(path)
            self._made.append(path)
        return record
