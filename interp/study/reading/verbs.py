"""`read`: texts in memory; `read_file`: a data set of any size, block by block, which resumes."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from interp.capture.store.folder import LOCK
from interp.capture.store.lock import locked
from interp.capture.workers.signals import Stopping, watched_signals
from interp.causal.forward import listed
from interp.errors import DataError, UsageError
from interp.files import make_folder
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.texts.conversations import Prompt, prompt_of
from interp.progress import track
from interp.reporting.heat_map import heat_map
from interp.study.reading.outputs import Blocks, file_kind
from interp.study.reading.place import ReadAt, check_model, find_place, open_model, open_record
from interp.study.reading.texts import RowSource, TextRow, numbered_texts
from interp.study.reading.tokens import BY, TOO_LONG, frame_of, read_columns, read_rows
from interp.study.reading.tops import Tops, of_emotion
from stimuli.battery import Battery, Stimulus

TEXTS_AT_ONCE = 256
"""Texts of a block."""

MOST_RANKED = 200_000
"""Rows that are kept in memory, at most: more of them go into a file."""

READ_NAMED = 5
"""Texts that are too long and are told by name; the file beside the table names all of them."""

Texts = Path | Prompt | Stimulus | Sequence[Prompt | Stimulus] | Battery
"""Texts to read: one, several, or the path of a data set."""


class How(NamedTuple):
    """How texts are read: what a row of the result is (`by`), what becomes of texts longer than the
    context (`too_long`), and whether special tokens in texts are let through.
    """

    by: str = "token"
    too_long: str = "stop"
    allow_special: bool = False


class Job(NamedTuple):
    """What is read with, where and how; with `top` only so many rows of each emotion are kept."""

    model: LanguageModel
    place: ReadAt
    how: How
    top: int | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of the rows."""
        return read_columns(self.place, by=self.how.by)

    def tops(self) -> Tops | None:
        """What keeps the highest rows, where they are asked for."""
        return None if self.top is None else Tops(self.place, _plain(self.columns), self.top)


@dataclass(frozen=True, eq=False)
class TextsRead:
    """What was read, `n` rows in all.

    `frame` has a row per token, turn or text (`by`), or the highest ones of each emotion
    (`by` "top"); it is empty where all went into a file. `told` is what is to be known of it. A
    notebook shows tokens as a heat map.
    """

    frame: pd.DataFrame
    place: ReadAt
    by: str
    n: int
    told: tuple[str, ...] = ()

    def rows(self) -> list[dict[Any, Any]]:
        """The frame as records; what there is none of is None."""
        return _records(self.frame)

    def by_emotion(self) -> list[dict[Any, Any]]:
        """The same, a row for each emotion of a token, a turn or a text: side by side the units of
        several emotions are wider than a terminal.
        """
        if self.frame.empty or "emotion" in self.frame:
            return self.rows()
        plain = _plain(self.frame)
        parts = [of_emotion(self.frame, one, plain) for one in self.place.directions]
        return _records(pd.concat(parts).sort_index(kind="stable"))

    def notes(self) -> list[str]:
        """Where it was read, in which units, and what is to be known of it."""
        return [f"Read along {self.place.told}.", self.place.units, *self.told]

    def html(self, *, page: bool = True) -> str:
        """The tokens of all texts coloured by their share: a page of its own, or a piece of one.
        Raises `UsageError` where rows are no tokens.
        """
        if self.by != "token":
            raise UsageError(f"a heat map shows tokens, and these rows are by {self.by}.")
        place = self.place
        return heat_map(
            self.frame, list(place.directions), zero=place.zero, notes=self.notes(), page=page
        )

    def _repr_html_(self) -> str:
        if self.by == "token":
            return self.html(page=False)
        return str(self.frame.to_html(index=False, max_rows=30))


def _plain(columns: Iterable[Any]) -> list[str]:
    """Those of the columns of readings that are no unit."""
    return [name for name in map(str, columns) if file_kind(name) != "unit"]


def _records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def read(
    run: Path | str,
    texts: Texts,
    *,
    model: LanguageModel | str | None = None,
    emotions: Sequence[str] = (),
    layer: int | None = None,
    by: str = "token",
    too_long: str = "stop",
    allow_special: bool = False,
    top: int | None = None,
) -> TextsRead:
    """Texts along the emotion directions of a finished `run`, in calibrated units.

    `texts`: a text, a conversation (messages of role and content), several of them, or the path of
    a data set (JSONL, CSV, TSV with a column `text`). `model` is the run's own by default. `by`
    token, turn or text: a turn and a text are read at their last token, with the mean and the
    highest share of all their tokens. Without a `layer` it is the one that the run chose
    (`place.find_place`). With `top` only so many rows of each emotion are kept.

    Raises `UsageError` for an emotion or a layer that the run lacks, `DataError` naming a text that
    cannot be read, `ArtefactError` for another model than the run's.
    """
    folder, how = Path(run), checked_asking(How(by, too_long, allow_special))
    record = open_record(folder)
    place = find_place(folder, emotions=emotions, layer=layer)
    rows = (
        RowSource(str(texts)).rows() if isinstance(texts, Path) else numbered_texts(_prompts(texts))
    )
    if isinstance(model, LanguageModel):
        check_model(record, model)
        return read_rows_of(Job(model, place, how, top), rows)
    return read_rows_of(Job(open_model(record, model=model), place, how, top), rows)


def read_rows_of(job: Job, rows: Iterable[TextRow]) -> TextsRead:
    """The rows read, in memory. Raises `UsageError` for more rows than `MOST_RANKED`, `DataError`
    for none, and as `tokens.read_rows`.
    """
    tops, frames, n = job.tops(), [], 0
    too_long: dict[str, str] = {}
    for frame, told in frames_of(job, rows):
        n += len(frame)
        too_long |= told
        if tops is not None:
            tops.see(frame)
            continue
        frames.append(frame)
        if n > MOST_RANKED:
            raise UsageError(
                f"more than {MOST_RANKED:,} rows are too many to keep: write them with `interp "
                "read RUN FILE --out TABLE`, or ask for --top N."
            )
    if not n and not too_long:
        raise DataError("there is no text to read: 0 rows.")
    whole = pd.concat(frames, ignore_index=True) if tops is None else tops.frame()
    by = job.how.by if tops is None else "top"
    return TextsRead(whole, job.place, by, n, (*job.place.doubts, *_told(too_long)))


def frames_of(job: Job, rows: Iterable[TextRow]) -> Iterator[tuple[pd.DataFrame, dict[str, str]]]:
    """The rows of the result block by block, and what was done with texts that are too long."""
    require(job.model, "capture", [job.place.site])
    texts, how = iter(rows), job.how
    while block := list(islice(texts, TEXTS_AT_ONCE)):
        found, told = read_rows(
            job.model, job.place, block, too_long=how.too_long, allow_special=how.allow_special
        )
        yield frame_of(found, job.place, by=how.by), told


def read_file(job: Job, source: RowSource, out: Path, *, asked: Mapping[str, Any]) -> TextsRead:
    """Read the rows of `source` into the table `out`; what comes back holds the highest rows only,
    where they are asked for. `asked` tells this reading from others (run, model).

    Blocks that an earlier call left are kept (not those of stdin, which cannot be read again).
    Raises as `Blocks.open` and `tokens.read_rows`, `BusyError` where another process reads into
    `out`, `Interrupted` for a signal; what is finished is kept.
    """
    blocks, digest = Blocks(out), source.sha256
    make_folder(out.parent)
    about = json.loads(json.dumps({**asked, **job.how._asdict(), **job.place.facts()}))
    about |= {"file": source.name, "column": source.column, "sha256": digest}
    about |= {"texts_at_once": TEXTS_AT_ONCE}
    done = blocks.open(about, again=digest is None)
    with locked(blocks.folder / LOCK), watched_signals() as stopping:
        found = frames_of(job, islice(source.rows(), done * TEXTS_AT_ONCE, None))
        for number, (frame, told) in enumerate(track(found, "read", unit="block"), start=done):
            blocks.write(number, frame, told)
            _stop_if_asked(stopping, blocks, number + 1, resumes=digest is not None)
        tops, n = job.tops(), 0
        too_long: dict[str, str] = {}
        for frame, told in blocks.read(job.columns):
            n += len(frame)
            too_long |= told
            if tops is not None:
                tops.see(frame)
        if not n and not too_long:
            raise DataError(f"{source.name} has no text to read: 0 rows.")
        blocks.join(job.columns, {**about, "too_long_texts": too_long, "units": job.place.units})
    best = pd.DataFrame() if tops is None else tops.frame()
    return TextsRead(best, job.place, "top", n, (*job.place.doubts, *_told(too_long)))


def _stop_if_asked(stopping: Stopping, blocks: Blocks, done: int, *, resumes: bool) -> None:
    kept = f"{done} blocks of {TEXTS_AT_ONCE} texts are in {blocks.folder}"
    how = "the same command goes on from there" if resumes else "what came from stdin is lost"
    stopping.check(f"{kept}; {how}.")


def _told(too_long: Mapping[str, str]) -> list[str]:
    """The texts that are too long, the first by name, and how many more there are."""
    told = [f"{where}: {what}." for where, what in list(too_long.items())[:READ_NAMED]]
    more = len(too_long) - READ_NAMED
    return [*told, *([f"and {more} more texts that are too long."] if more > 0 else [])]


def checked_asking(how: How) -> How:
    """`how`, if it can be done. Raises `UsageError` with the choices."""
    for name, value, choices in (("by", how.by, BY), ("too_long", how.too_long, TOO_LONG)):
        if value not in choices:
            raise UsageError(f"{name} is {value!r}: expected one of {', '.join(choices)}.")
    return how


def _prompts(texts: Any) -> list[Prompt]:
    return [
        prompt_of(one.text, one.fields, name=one.id) if isinstance(one, Stimulus) else one
        for one in (texts if isinstance(texts, Battery) else listed(texts))
    ]
