"""Memory that is freed and soon asked for again stays with the process.

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
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(
        library.mallopt(parameter, KEPT) == 1 for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)
    )
