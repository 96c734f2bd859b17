"""Hostile and damaged stimulus files, each small on disk; `write_all` makes one of every kind."""

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

GOOD = b'{"id": "a", "text": "x y", "emotion": "joy"}\n'
MIB = 1 << 20


def bomb(block: bytes, times: int) -> bytes:
    """gzip of `block` repeated, made without holding it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(block) for _ in range(times)), packer.flush()])


def workbook() -> bytes:
    book = openpyxl.Workbook()
    for row in (("text", "emotion"), ("A day.", "joy"), ("A night.", "fear")):
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def rezipped(edit: Callable[[str, bytes], bytes]) -> bytes:
    """The workbook with each of its parts edited."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook())) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.namelist():
            new.writestr(part, edit(part, old.read(part)))
    return buffer.getvalue()


def in_sheet(old: bytes, new: bytes) -> bytes:
    return rezipped(lambda part, data: data.replace(old, new) if "sheet1" in part else data)


def laughs() -> bytes:
    """A sheet whose entities multiply."""
    entities = b'<!ENTITY a "haha">' + b"".join(
        b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
    )
    start = b"<!DOCTYPE worksheet [" + entities + b"]>"

    def edit(part: str, data: bytes) -> bytes:
        if "sheet1" not in part:
            return data
        return start + data.replace(b"A day.", b"&j;")

    return rezipped(edit)


def lying_zip() -> bytes:
    """The central directory says that a part of 30 MiB has 100 bytes."""
    data = bytearray(
        rezipped(lambda part, data: data + b" " * (30 * MIB) if "sheet1" in part else data)
    )
    place = data.rindex(b"sheet1.xml")
    entry = data.rindex(b"PK\x01\x02", 0, place)
    data[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    return bytes(data)


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def repeated_text() -> bytes:
    """100,000 rows of one text of 900 kB, kept once."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["x" * 900_000])
    return parquet(pa.table({"text": texts, "emotion": ["joy"] * 100_000}))


def arrow_stream(rows: list[dict]) -> bytes:
    table = pa.Table.from_pylist(rows)
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def bad_offsets() -> bytes:
    """An Arrow stream whose text offsets point outside of its buffer."""
    data = bytearray(arrow_stream([{"text": "abcd" * 10, "emotion": "joy"}] * 3))
    start = data.rindex((40).to_bytes(4, "little") + (80).to_bytes(4, "little"))
    data[start : start + 4] = (0x7FFFFFF0).to_bytes(4, "little")
    return bytes(data)


def flipped(data: bytes, at: float) -> bytes:
    copy = bytearray(data)
    copy[int(len(copy) * at)] ^= 0xFF
    return bytes(copy)


def contents() -> dict[str, bytes]:
    """File name -> bytes."""
    packed = gzip.compress(GOOD * 2000)
    small = parquet(pa.table({"text": ["a day", "b day"] * 500, "emotion": ["joy", "fear"] * 500}))
    return {
        "zeros.jsonl.gz": bomb(b"\0" * MIB, 200),
        "newlines.jsonl.gz": bomb(b"\n" * MIB, 200),
        "one_line.jsonl.gz": bomb(b"a" * MIB, 200),
        "rows.csv.gz": bomb(b"text,emotion\n" + b"a day,joy\n" * (MIB // 10), 100),
        "cut.jsonl.gz": packed[:-20],
        "flipped.jsonl.gz": flipped(packed, 0.5),
        "twice.jsonl.gz": gzip.compress(gzip.compress(GOOD)),
        "blanks.xlsx": rezipped(
            lambda part, data: data + b" " * (60 * MIB) if "sheet1" in part else data
        ),
        "huge.xlsx": rezipped(
            lambda part, data: data + b" " * (80 * MIB) if "sheet1" in part else data
        ),
        "lying.xlsx": lying_zip(),
        "laughs.xlsx": laughs(),
        "no_xml.xlsx": in_sheet(b"</row>", b"<row>"),
        "cut.xlsx": workbook()[:-200],
        "other.zip": rezipped(lambda part, data: data).replace(b"xl/workbook", b"xl/workroom"),
        "many_rows.parquet": parquet(pa.table({"text": pa.nulls(3_000_000, pa.string())})),
        "repeated.parquet": repeated_text(),
        "cut.parquet": small[:-30],
        "flipped.parquet": flipped(small, 0.3),
        "offsets.arrow": bad_offsets(),
        "cut.arrow": arrow_stream([{"text": "a day", "emotion": "joy"}] * 1000)[:-4000],
        "deep_list.json": b"[" * (20 * MIB),
        "deep_objects.jsonl": b'{"a":' * (MIB // 6),
        "empties.json": b"[" + b"{}," * (15 * MIB) + b"{}]",
        "columns.json": b'{"text": [' + b"[]," * (15 * MIB) + b"[]]}",
        "long_member.json": json.dumps([{"text": "x" * (11 * MIB), "emotion": "joy"}]).encode(),
        "long_row.jsonl": b'{"id": "' + b"a" * (10 * MIB) + b'"}',
        "long_row.csv": b"text,emotion\n" + b"a" * (10 * MIB) + b",joy\n",
        "open_quote.csv": b'text,emotion\n"' + b"never closed\n" * (10 * MIB // 13),
        "digits.json": b'{"id": ' + b"9" * 1_000_000 + b', "text": "a", "emotion": "joy"}',
        "many_columns.csv": b"text,emotion," + b",".join(b"%d" % n for n in range(99_999)) + b"\na",
        "cut_utf16.csv": "text,emotion\nA day,joy\n".encode("utf-16")[:-1] + b"\xd8\xd8",
        "nothing.csv": b"\0" * MIB,
        "dump.pkl": b"\x80\x04\x95" + b"." * 100,
    }


def write_all(folder: Path) -> list[Path]:
    """All hostile files and folders, in `folder`."""
    for name, data in contents().items():
        (folder / name).write_bytes(data)
    climbing = folder / "climbing"
    climbing.mkdir()
    (climbing / "state.json").write_text('{"_data_files": [{"filename": "../../secret.arrow"}]}')
    deep = folder / "deep_state"
    deep.mkdir()
    (deep / "state.json").write_text("[" * 500_000)
    return sorted(folder.iterdir())
