"""Reuse: what an earlier capture holds is copied instead of computed again.

An activation is a function of the model (weights, configuration, precision), the tokens of the
text, the site, and the tokens that the position rule looks at; of nothing else up to the last
digits, which depend on the batch. So a text is found again by these, whatever its id, battery or
place was then.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interp.capture.plan import Plan
from interp.capture.recording.gathering import Recorded
from interp.capture.store.folder import RunFolder, capture_in
from interp.capture.store.sealed_json import differences
from interp.capture.store.shard import CHOSEN, text_rows
from interp.capture.store.shard_file import open_hdf5
from interp.capture.store.shard_record import ShardRecord
from interp.errors import ArtefactError


@dataclass(frozen=True, slots=True)
class _Held:
    """Where a text's activations lie: the file of a shard of an earlier capture (by its plan's
    digest), and the text's number in it.
    """

    path: Path
    record: ShardRecord
    number: int
    plan: str


@dataclass(frozen=True)
class Reuse:
    """The texts of a plan that earlier captures hold, by their places."""

    held: Mapping[int, _Held]

    @classmethod
    def find(cls, plan: Plan, paths: Sequence[Path | str]) -> "Reuse":
        """Look for the texts of `plan` in the captures at `paths`, complete or not; the first that
        holds one serves it. A run's folder stands for the capture in it.

        Raises `ArtefactError` for a capture that cannot serve this plan at all: another model or
        kind of attention, a site or position that it lacks, or float16 where float32 is asked for.
        """
        places: dict[str, list[int]] = {}
        for place, text in enumerate(plan.texts):
            places.setdefault(_key(text.tokens, text.selected), []).append(place)
        held: dict[int, _Held] = {}
        for path in paths:
            folder = RunFolder(capture_in(path).resolve())
            _check(plan, folder)
            for record in folder.records.values():
                for number, key in enumerate(_keys(plan, folder, record)):
                    if record.items[number] not in record.nonfinite:
                        for place in places.get(key, []):
                            held.setdefault(
                                place,
                                _Held(
                                    folder.shard_path(record), record, number, folder.head["plan"]
                                ),
                            )
        return cls(held)

    def recorded(self, plan: Plan, places: Sequence[int]) -> Iterator[Recorded]:
        """The activations of those of the texts at `places` that are held, a shard of theirs at a
        time.
        """
        wanted: dict[str, list[tuple[int, _Held]]] = {}
        for place in places:
            if place in self.held:
                source = self.held[place]
                wanted.setdefault(str(source.path), []).append((place, source))
        for found in wanted.values():
            yield _copied(plan, found)


def _copied(plan: Plan, found: Sequence[tuple[int, _Held]]) -> Recorded:
    """Texts that lie in one shard."""
    source = found[0][1]
    names = [f"{site}/{rule}" for site in plan.sites for rule in plan.positions]
    arrays: dict[str, np.ndarray] = {}
    with _reading(source.path), open_hdf5(source.path, verified=source.record.verified) as file:
        lengths = file["length"][...].tolist()
        for name in names:
            whole = file[name][...].astype(np.float32, copy=False)
            rows = text_rows(name, lengths)
            arrays[name] = np.concatenate([whole[rows[held.number]] for _, held in found])
            if not np.isfinite(arrays[name]).all():
                raise ArtefactError(
                    f"{name} holds rows that are not finite, and are not in quarantine."
                )
    places = [place for place, _ in found]
    return Recorded(
        places, arrays, reused=[plan.texts[place].id for place in places], sources=[source.plan]
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Damage met inside is told as that of the capture reused, which its own run repairs."""
    try:
        yield
    except ArtefactError as error:
        raise ArtefactError(
            f"{path.parent.parent} (--reuse) cannot be copied from: {error}"
        ) from error


def _keys(plan: Plan, folder: RunFolder, record: ShardRecord) -> list[str]:
    """The key of each text of a shard."""
    rules = [rule for rule in plan.positions if rule.pooled]
    path = folder.shard_path(record)
    with _reading(path), open_hdf5(path, verified=record.verified) as file:
        file.check_owner(plan=folder.head["plan"], places=record.places)
        tokens = file["token"][...]
        chosen = [file[f"{CHOSEN}/{rule}"][...] for rule in rules]
        rows = text_rows("/all", file["length"][...].tolist())
    if len(rows) != len(record.items):
        raise ArtefactError(
            f"{path} (--reuse) holds {len(rows)} texts, and its manifest names {len(record.items)}."
        )
    return [
        _key(tokens[row].tolist(), [np.flatnonzero(mark[row]) for mark in chosen]) for row in rows
    ]


def _key(tokens: Sequence[int], selected: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256(np.asarray(tokens, dtype="<i8").tobytes())
    for positions in selected:
        digest.update(b"|" + np.asarray(positions, dtype="<i8").tobytes())
    return digest.hexdigest()


def _check(plan: Plan, folder: RunFolder) -> None:
    """Raise `ArtefactError` unless `folder` can serve `plan`."""
    old, new = folder.head["config"], plan.config
    options = old.get("options", {})
    told = differences(old.get("model", {}), new["model"], prefix="model.")
    told += [f"no {site}" for site in new["sites"] if site not in old["sites"]]
    told += [f"no position {rule}" for rule in new["positions"] if rule not in old["positions"]]
    told += differences(
        {"attention": options.get("attention")}, {"attention": plan.options.attention}
    )
    if (options.get("storage"), plan.options.storage) == ("float16", "float32"):
        told.append("float16 values, and float32 is asked for")
    if told:
        raise ArtefactError(
            f"{folder.path} cannot be reused here: "
            f"{'; '.join(told[:6])}{'; ...' if len(told) > 6 else ''}. Leave out --reuse, or ask "
            "for what it holds."
        )
