"""From a file's bytes to lines of text: what kind of file it is, gzip unpacked, the encoding known.

Text is UTF-8, or UTF-16 that says so in its first two bytes. Anything else is refused with the
command that mends it: a guessed letter would change what the model reads.
"""

import gzip
import re
import shlex
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, TextIOWrapper
from itertools import count
from pathlib import Path
from typing import Any, NoReturn, cast

from interp.errors import DataError, ResourceError
from interp.files import open_regular
from stimuli.parsing import make_printable
from stimuli.rows import Ledger, Limits, shown

FIRST_BYTES = 1 << 16
"""Bytes at the beginning of a file by which its kind is told."""

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_BOMS_16 = (b"\xff\xfe", b"\xfe\xff")
_BOMS_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
MOST_PACKED = 200
"""How many times larger than the file a packed one may unpack. Texts reach some twenty; a bomb, a
thousand.
"""

_FREELY_UNPACKED = 1 << 20
_LINES_PER_ROW = 4
_KINDS = (
    (_GZIP, "gzip inside gzip", "unpack it once with gunzip"),
    (b"BZh", "packed by bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "packed by xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it with zstd -d"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it with 7z x and name the file inside"),
    (b"Rar!", "a RAR archive", "unpack it and name the file inside"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls)", "save it as .xlsx or as CSV in UTF-8"),
    (b"%PDF", "a PDF", "copy its texts into a table"),
    (b"\x89HDF", "HDF5", "write its texts as CSV or JSON lines"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x93NUMPY", "a NumPy array", "write its texts as CSV or JSON lines"),
    (b"\x80\x03", "a pickle, which runs code when opened", "write its texts as JSON lines"),
    (b"\x80\x04", "a pickle, which runs code when opened", "write its texts as JSON lines"),
    (b"\x80\x05", "a pickle, which runs code when opened", "write its texts as JSON lines"),
    (b"GGUF", "a model's weights (GGUF)", "name a file of texts"),
    (b"\x89PNG", "a picture", "name a file of texts"),
    (b"<!DOCTYPE", "a web page", "fetch the file itself (the 'raw' link), not the page about it"),
    (b"<html", "a web page", "fetch the file itself (the 'raw' link), not the page about it"),
    (b"<?xml", "XML", "write its texts as CSV or JSON lines"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with git lfs pull"),
)


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """The bytes of a regular file, unpacked where it is gzip.

    Raises `ResourceError` when the file system refuses, `DataError` for what is no regular file (a
    pipe would block) and for damaged gzip.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{shown(path)} is no regular file: write its content to a file first.")
        with open_regular(path) as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            stream = cast(BufferedIOBase, gzip.GzipFile(fileobj=raw) if packed else raw)
            with stream:
                yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{shown(path)} is damaged gzip ({error}): fetch it again.") from error
    except OSError as error:
        raise ResourceError(f"cannot read {shown(path)}: {error.strerror or error}.") from error


def read_head(path: Path) -> bytes:
    """The first bytes of a file, unpacked; raises `DataError` for a kind that holds no stimuli."""
    with opened(path) as stream:
        head = stream.read(FIRST_BYTES)
    for start, kind, remedy in _KINDS:
        if head[: len(start)].lower() == start.lower():
            raise DataError(f"{shown(path)} is {kind}: {remedy}.")
    if head[257:262] == b"ustar":
        raise DataError(f"{shown(path)} is a tar archive: unpack it and name the file inside.")
    return head


def is_packed(path: Path) -> bool:
    """Whether the file itself is gzip."""
    with open_regular(path) as raw:
        return raw.read(2) == _GZIP


def check_extent(path: Path, limits: Limits) -> None:
    """Raise `DataError` for a file of text that is far longer than `limits` allow, before a line of
    it is looked at: gzip that unpacks to over `limits.unpacked_bytes` or to far more than texts do,
    and more lines than so many rows could fill.
    """
    size, packed = path.stat().st_size, is_packed(path)
    total = lines = 0
    with opened(path) as stream:
        while block := stream.read(1 << 20):
            total, lines = total + len(block), lines + block.count(b"\n")
            if packed and total > limits.unpacked_bytes:
                raise DataError(
                    f"{shown(path)} unpacks to more than {limits.unpacked_bytes:,} bytes: "
                    "unpack it, or raise limits=Limits(unpacked_bytes=...)."
                )
            if total > max(_FREELY_UNPACKED, MOST_PACKED * size):
                raise DataError(
                    f"{shown(path)} unpacks to over {MOST_PACKED} times its size, as no texts do: "
                    "unpack it yourself if you trust it."
                )
            if lines > _LINES_PER_ROW * limits.rows:
                raise DataError(
                    f"{shown(path)} has more than {_LINES_PER_ROW * limits.rows:,} lines, the "
                    f"limit is {limits.rows:,} rows: raise it with limits=Limits(rows=...)."
                )


def text_lines(path: Path, limits: Limits, ledger: Ledger) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, decoded; a byte order mark and CRLF are taken off and noted.

    Raises `DataError` for a line over `limits.row_bytes`, for NUL, and for bytes that are not UTF-8
    (byte offset, guessed encoding, the command that mends it).
    """
    with opened(path) as stream:
        start = stream.read(4)
        stream.seek(0)
        if start in _BOMS_32:
            _refuse_encoding(path, 1, 0, start[0], "utf-32")
        if start[:2] in _BOMS_16:
            ledger.note("UTF-16 was read")
            yield from _wide_lines(path, stream, limits, ledger)
        else:
            yield from _lines(path, stream, limits, ledger)


def whole_text(path: Path, limits: Limits, ledger: Ledger) -> str:
    """The decoded text of a file that is read whole, line ends as LF.

    Raises as `text_lines`, and `DataError` for more than `limits.file_bytes`.
    """
    with opened(path) as stream:
        size = len(stream.read(limits.file_bytes + 1))
    if size > limits.file_bytes:
        raise DataError(
            f"{shown(path)} has more bytes than may be read whole, the limit is "
            f"{limits.file_bytes:,}: write JSON lines, or raise limits=Limits(file_bytes=...)."
        )
    loose = Limits(row_bytes=limits.file_bytes, unpacked_bytes=limits.unpacked_bytes)
    return "".join(text for _, text in text_lines(path, loose, ledger))


def _lines(
    path: Path, stream: BufferedIOBase, limits: Limits, ledger: Ledger
) -> Iterator[tuple[int, str]]:
    offset = 0
    for number in count(1):
        line = stream.readline(limits.row_bytes + 1)
        if not line:
            return
        if len(line) > limits.row_bytes:
            _refuse_length(path, number, limits)
        text = _decode(path, number, line, offset)
        offset += len(line)
        if number == 1 and line.startswith(_BOM):
            ledger.note("a byte order mark was removed")
            text = text[1:]
        for part in _line_ends(text, ledger):
            yield number, part


def _wide_lines(
    path: Path, stream: BufferedIOBase, limits: Limits, ledger: Ledger
) -> Iterator[tuple[int, str]]:
    reader = TextIOWrapper(cast(Any, stream), encoding="utf-16", newline="\n")
    number = 0
    try:
        while line := reader.readline(limits.row_bytes + 1):
            number += 1
            if len(line) > limits.row_bytes:
                _refuse_length(path, number, limits)
            if "\0" in line:
                raise DataError(f"{shown(path)}:{number}:{line.find(chr(0)) + 1}: NUL: remove it.")
            for part in _line_ends(line, ledger):
                yield number, part
    except UnicodeDecodeError as error:
        raise DataError(
            f"{shown(path)}:{number + 1}:1: the file begins as UTF-16, and line {number + 1} is "
            f"not UTF-16 ({error.reason}): write it again as UTF-8."
        ) from error
    finally:
        reader.detach()


def _refuse_length(path: Path, number: int, limits: Limits) -> NoReturn:
    raise DataError(
        f"{shown(path)}:{number}:1: the row is longer than {limits.row_bytes:,} bytes. "
        "Raise it with limits=Limits(row_bytes=...), or split the text."
    )


def _line_ends(text: str, ledger: Ledger) -> list[str]:
    if "\r" not in text:
        return [text]
    ledger.note("line ends CRLF or CR were read as LF")
    return re.findall(r"[^\n]*\n|[^\n]+", text.replace("\r\n", "\n").replace("\r", "\n"))


def _decode(path: Path, number: int, line: bytes, offset: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        column = error.start + 1
        _refuse_encoding(path, number, at, line[error.start], _guess_encoding(line), column)
    if (nul := text.find("\0")) < 0:
        return text
    wide = line[:64]
    if number == 1 and len(wide) / 3 < wide.count(0) < len(wide):
        encoding = "utf-16le" if wide[1:2] == b"\0" else "utf-16be"
        _refuse_encoding(path, number, offset + line.find(0), 0, encoding)
    raise DataError(
        f"{shown(path)}:{number}:{nul + 1}: NUL at byte {offset + line.find(0)}; no store can "
        "keep it: remove it."
    )


def _refuse_encoding(
    path: Path, number: int, at: int, byte: int, encoding: str, column: int = 1
) -> NoReturn:
    """Raise `DataError` with the place and the command that writes the file anew in UTF-8."""
    old, new = shlex.quote(str(path)), shlex.quote(str(path.with_name(f"utf8-{path.name}")))
    command = f"iconv -f {encoding} -t utf-8 {old} > {new}"
    if is_packed(path):
        new = new.replace(".gz", "")
        command = f"gunzip -c {old} | iconv -f {encoding} -t utf-8 > {new}"
    raise DataError(
        f"{shown(path)}:{number}:{column}: not UTF-8 at byte {at} (0x{byte:02x}); it looks like "
        f"{encoding}. Convert it, and look at the result: {make_printable(command)}"
    )


def _guess_encoding(line: bytes) -> str:
    try:
        line.decode("cp1252")
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "windows-1252"
