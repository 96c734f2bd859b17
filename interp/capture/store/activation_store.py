"""ActivationStore: read what a capture kept, one site and position at a time; never more than was
asked for.

A store is a folder of shards (see `folder`) or, without a folder, shards in memory; both read
alike. Rows come in battery order. Items refused for non-finite values, and their twins, are left
out and listed in `quarantined`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.capture.store.activations import Activations, Shape, check_width
from interp.capture.store.folder import RunFolder
from interp.capture.store.shard import Shard, is_ragged
from interp.capture.store.shard_file import open_hdf5
from interp.capture.store.shard_record import ShardRecord
from interp.errors import ArtefactError, UsageError
from interp.notebook import as_html
from interp.sites import Site


class ActivationStore:
    """Captured activations. `sites` and `positions` say what can be read, `items` whose rows come
    back.

    Use `open` for a folder; `capture` returns one ready.
    """

    def __init__(
        self,
        head: Mapping[str, Any],
        *,
        records: Sequence[ShardRecord],
        folder: RunFolder | None,
        shards: Mapping[int, Shard],
    ) -> None:
        self.head = head
        self.sites = tuple(Site.parse(text) for text in head["config"]["sites"])
        self.positions = tuple(map(str, head["config"]["positions"]))
        sources = list(dict.fromkeys(source for record in records for source in record.sources))
        known = {
            "plan": head["plan"],
            "reused_captures": sources or head["provenance"].get("reused_captures", []),
        }
        self.provenance: Mapping[str, Any] = {**head["config"], **head["provenance"], **known}
        self.path = folder.path if folder else None
        self._records = list(records)
        self._folder = folder
        self._shards = shards
        self._ids = _ids(records, n_items=head["n_items"], where=str(self.path or "this capture"))
        self.quarantined = self._find_quarantined()
        self._places = np.array(
            [place for place, name in enumerate(self._ids) if name not in self.quarantined],
            dtype=np.int64,
        )
        self.items = tuple(self._ids[place] for place in self._places)

    @classmethod
    def open(cls, path: Path | str) -> "ActivationStore":
        """The store in a folder; manifest and sizes are checked now, the digest of what is read
        when it is read.

        Raises `ArtefactError` (exit 4) when the folder is no capture, is damaged, newer than this
        interp, or incomplete.
        """
        folder = RunFolder(Path(path))
        missing = folder.head["n_shards"] - len(folder.records)
        if missing:
            raise ArtefactError(
                f"{path} is incomplete: {missing} of {folder.head['n_shards']} shards are "
                "missing. Run the same capture again; it computes what is missing."
            )
        for record in folder.records.values():
            file = folder.shard_path(record)
            if not file.is_file() or file.stat().st_size != record.bytes:
                raise ArtefactError(
                    f"{file} is missing or has another size than was committed: `interp capture "
                    "--repair`."
                )
        return cls(
            folder.head,
            records=[folder.records[i] for i in sorted(folder.records)],
            folder=folder,
            shards={},
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the capture warned of, each once."""
        return tuple(
            dict.fromkeys(warning for record in self._records for warning in record.warnings)
        )

    def read(self, site: Site | str, position: str | None = None) -> Activations:
        """All items' activations at `site` under `position` (the first that was captured, if none
        is named) in float32; a head of a recorded site may be asked for.

        Raises `UsageError` naming what was recorded, `ArtefactError` for damage.
        """
        position = self.positions[0] if position is None else position
        wanted, stored = self._stored(site, position)
        head = wanted.head if stored.head is None else None
        pieces = [self._shard_rows(record, stored, head, position) for record in self._records]
        for record, piece in zip(self._records, pieces, strict=True):
            check_width(record, f"{stored}/{position}", piece.x.shape[1:], pieces[0].x.shape[1:])
        x, lengths = _in_battery_order(pieces, keep=self._places, n_items=len(self._ids))
        return Activations(x, wanted, position, self.items, self.provenance, lengths)

    def stream(self, site: Site | str, position: str = "all") -> Iterator[Activations]:
        """The same activations a shard at a time, in the order in which they were computed: memory
        stays small.
        """
        wanted, stored = self._stored(site, position)
        for record in self._records:
            piece = self._shard_rows(
                record, stored, wanted.head if stored.head is None else None, position
            )
            order = np.arange(len(piece.places))
            kept = order[np.isin(piece.places, self._places)]
            if len(kept):
                renumbered = _Piece(order, piece.x, piece.lengths)
                x, lengths = _in_battery_order([renumbered], keep=kept, n_items=len(order))
                ids = tuple(self._ids[piece.places[place]] for place in kept)
                yield Activations(x, wanted, position, ids, self.provenance, lengths)

    def token_counts(self) -> dict[str, int]:
        """How many tokens each text has, by its id; no activation is read."""
        found: dict[str, int] = {}
        for record in self._records:
            with self._shard(record) as arrays:
                lengths = np.asarray(arrays["length"][...]).tolist()
            found.update(zip(record.items, lengths, strict=True))
        return {item: found[item] for item in self.items}

    def _repr_html_(self) -> str:
        """For a notebook: what was recorded of how many texts, and the shape of one text's row."""
        facts: dict[str, object] = {"texts": len(self.items), "quarantined": len(self.quarantined)}
        facts |= {"positions": ", ".join(self.positions), "folder": self.path or "in memory"}
        for name in dict.fromkeys(site.name for site in self.sites):
            sites = [site for site in self.sites if site.name == name]
            layers = ", ".join(str(site.layer) for site in sites)
            facts[name] = f"layers {layers}; {self._shape(sites[0])} per row"
        return as_html(f"Activations of {self.provenance['model'].get('model')}", facts.items())

    def _shape(self, site: Site) -> Shape:
        """The shape of one row of a site; no row is read."""
        with self._shard(self._records[0]) as arrays:
            return tuple(arrays[f"{site}/{self.positions[0]}"].shape[1:])

    def close(self) -> None:
        """Let go of what is held in memory."""
        self._shards = {}

    def __enter__(self) -> "ActivationStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stored(self, site: Site | str, position: str) -> tuple[Site, Site]:
        """The site asked for, and the recorded one that holds it (itself, or all its heads)."""
        wanted = Site.parse(site) if isinstance(site, str) else site
        whole = Site(wanted.name, wanted.layer)
        stored = wanted if wanted in self.sites else whole
        if stored not in self.sites or position not in self.positions:
            names = ", ".join(dict.fromkeys(site.name for site in self.sites))
            layers = ", ".join(map(str, sorted({site.layer for site in self.sites})))
            raise UsageError(
                f"{wanted}/{position} was not captured. This store has the sites {names} (layers "
                f"{layers}) at the positions {', '.join(self.positions)}."
            )
        return wanted, stored

    def _shard_rows(
        self, record: ShardRecord, stored: Site, head: int | None, position: str
    ) -> "_Piece":
        name = f"{stored}/{position}"
        with self._shard(record) as arrays:
            rows = arrays[name]
            if head is not None and not 0 <= head < rows.shape[1]:
                raise UsageError(
                    f"{stored} has heads 0..{rows.shape[1] - 1}, and head {head} was asked for."
                )
            x = np.asarray(rows[...] if head is None else rows[:, head], dtype=np.float32)
            lengths = np.asarray(arrays["length"][...]) if is_ragged(name) else None
        places = np.array(record.places, dtype=np.int64)
        if len(x) != (len(places) if lengths is None else int(lengths.sum())):
            raise ArtefactError(
                f"{name} of shard {record.file} has {len(x)} rows for {len(places)} items."
            )
        return _Piece(places, x, lengths)

    @contextmanager
    def _shard(self, record: ShardRecord) -> Iterator[Any]:
        if self._folder is None:
            shard = self._shards[record.index]
            yield {**shard.arrays, "length": shard.lengths}
            return
        with open_hdf5(self._folder.shard_path(record), verified=record.verified) as file:
            file.check_owner(plan=self.head["plan"], places=record.places)
            yield file

    def _find_quarantined(self) -> dict[str, str]:
        """Reasons by item id, twins included; every item with NaN rows must be among them."""
        if self._folder is None:
            lines: Sequence[Mapping[str, Any]] = self.head.get("quarantined", [])
        else:
            lines = list(self._folder.quarantined.values())
        reasons = {str(line["id"]): str(line.get("reason", "")) for line in lines}
        lost = [
            item for record in self._records for item in record.nonfinite if item not in reasons
        ]
        if lost:
            raise ArtefactError(
                f"the quarantine does not name {', '.join(map(repr, lost[:5]))}, whose "
                "activations are not finite."
            )
        twins = {
            str(line["twin"]): f"twin of {line['id']!r}, which was refused"
            for line in lines
            if line.get("twin")
        }
        return {**twins, **reasons}


@dataclass(frozen=True)
class _Piece:
    """Rows of one shard: `places` of its items, `lengths` where rows are tokens."""

    places: np.ndarray
    x: np.ndarray
    lengths: np.ndarray | None


def _in_battery_order(
    pieces: Sequence[_Piece], *, keep: np.ndarray, n_items: int
) -> tuple[Float[np.ndarray, "row ..."], tuple[int, ...] | None]:
    """Rows of the items at `keep`, in its order, out of pieces in any order; lengths where rows are
    tokens.
    """
    counts = np.zeros(n_items, dtype=np.int64)
    for piece in pieces:
        counts[piece.places] = 1 if piece.lengths is None else piece.lengths
    starts = np.full(n_items, -1, dtype=np.int64)
    starts[keep] = np.cumsum(counts[keep]) - counts[keep]
    first = pieces[0].x
    x = np.empty((int(counts[keep].sum()), *first.shape[1:]), dtype=np.float32)
    for piece in pieces:
        kept = starts[piece.places] >= 0
        if piece.lengths is None:
            x[starts[piece.places[kept]]] = piece.x[kept]
            continue
        ends = np.cumsum(piece.lengths)
        for place, end, length in zip(
            piece.places[kept], ends[kept], piece.lengths[kept], strict=True
        ):
            x[starts[place] : starts[place] + length] = piece.x[end - length : end]
    return x, None if pieces[0].lengths is None else tuple(int(n) for n in counts[keep])


def _ids(records: Sequence[ShardRecord], *, n_items: int, where: str) -> list[str]:
    """Item ids in battery order; every place of the battery must be there once."""
    found: dict[int, str] = {}
    total = 0
    for record in records:
        found.update(zip(record.places, record.items, strict=True))
        total += len(record.places)
    if total != n_items or sorted(found) != list(range(n_items)):
        raise ArtefactError(
            f"{where} names {total} items, {len(found)} of them different, and its plan has "
            f"{n_items}."
        )
    return [found[place] for place in range(n_items)]
