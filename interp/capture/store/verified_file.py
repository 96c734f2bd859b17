"""Reading a part of a large file that is trusted only by its digest: every block is verified before
a byte of it is used.

A digest of the whole file would have to read all of it before one layer of one site may be
believed. Here a content has a digest per block of `BLOCK_BYTES`; who reads a stretch pays for the
blocks that it touches, and what was verified is what is handed out. The digests stand behind the
content, at the file's end, and the manifest has one digest of them: its size does not grow with
the bytes that are kept.
"""

import hashlib
import io
from collections import OrderedDict
from typing import Any, BinaryIO

from interp.errors import ArtefactError
from interp.files import sha256_bytes

BLOCK_BYTES = 1 << 18

_DIGEST = 32
_KEPT = 16
"""Verified blocks kept in memory: neighbours are asked for in small pieces."""


def block_digests(content: bytes) -> bytes:
    """The SHA-256 of each block of `content`, one after another."""
    view = memoryview(content)
    return b"".join(
        hashlib.sha256(view[start : start + BLOCK_BYTES]).digest()
        for start in range(0, len(content), BLOCK_BYTES)
    )


def content_bytes(size: int) -> int:
    """How many of a file's `size` bytes are content; the others are its blocks' digests."""
    return size - _DIGEST * -(-size // (BLOCK_BYTES + _DIGEST))


class VerifiedFile(io.RawIOBase):
    """The content of a file of `size` bytes, read-only, of which nothing is handed out that has not
    the digest of its block; `blocks` is the SHA-256 of these digests, as hex digits.

    `touched` counts the blocks read. Raises `ArtefactError` for a file of another size or with
    other digests and, while reading, for a block that is not the one committed; `name` is what the
    message calls the file.
    """

    def __init__(self, stream: BinaryIO, *, size: int, blocks: str, name: str) -> None:
        super().__init__()
        self.touched = 0
        self._stream = stream
        self._size = content_bytes(size)
        self._name = name
        self._position = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        found = stream.seek(0, io.SEEK_END)
        if found != size:
            raise self._damaged(f"{found} bytes instead of {size}")
        stream.seek(self._size)
        self._digests = stream.read(size - self._size)
        if sha256_bytes(self._digests) != blocks:
            raise self._damaged("a content that is not the one committed")

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self._size

    def readable(self) -> bool:
        """True: this is what it is for."""
        return True

    def seekable(self) -> bool:
        """True: HDF5 jumps about."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted from the beginning, from here, or from the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` (anything that memoryview takes) from here on; the number of bytes there
        were.
        """
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        done = 0
        while done < wanted:
            number, start = divmod(self._position, BLOCK_BYTES)
            piece = memoryview(self._block(number))[start : start + wanted - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _block(self, number: int) -> bytes:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        self._stream.seek(number * BLOCK_BYTES)
        block = self._stream.read(min(BLOCK_BYTES, self._size - number * BLOCK_BYTES))
        known = self._digests[number * _DIGEST : (number + 1) * _DIGEST]
        if hashlib.sha256(block).digest() != known:
            raise self._damaged("a content that is not the one committed")
        self.touched += 1
        self._kept[number] = block
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return block

    def _damaged(self, what: str) -> ArtefactError:
        return ArtefactError(
            f"shard {self._name} has {what}: it is damaged. `interp capture --repair` computes "
            "it again."
        )
