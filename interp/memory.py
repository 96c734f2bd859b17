"""Memory that is freed: what is soon asked for again stays with the process, what is not goes back.

A forward pass frees and asks for the same large blocks again and again. glibc gives such blocks
back to the system, which must clear each page anew: a tenth of a pass on a CPU.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt's parameters, from glibc's malloc.h."""

KEPT = 256 << 20
"""Bytes: freed memory above this goes back, and single blocks above this are never kept."""


def keep_freed_memory() -> bool:
    """Tell the C library to keep up to `KEPT` bytes of freed memory; whether it is one that listens
    (glibc). Calling it again changes nothing.
    """
    library = _glibc()
    return library is not None and all(
        library.mallopt(parameter, KEPT) == 1 for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)
    )


def give_freed_memory_back() -> bool:
    """Give all freed memory back to the system now; whether the C library could (glibc).

    What one stage of a study freed lies between what it kept, in pieces that may be too small for
    the next.
    """
    library = _glibc()
    return library is not None and library.malloc_trim(0) == 1


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
