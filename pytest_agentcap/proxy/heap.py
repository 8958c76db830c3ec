"""One setting of the C library: what happens to memory that was freed."""

from __future__ import annotations

import ctypes

# From glibc's malloc.h; see mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LONGEST_KEPT = 8 << 20
_MOST_KEPT = 32 << 20


def keep_freed_memory() -> None:
    """Let this process keep up to 32 MB of what it frees, for the next body.

    glibc would give a long body's memory back to the kernel after each call, and get it anew for the next one page by
    page, which takes longer than to copy the body. Other C libraries have no such setting, and none is made there.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LONGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
