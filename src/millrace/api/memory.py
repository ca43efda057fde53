"""Memory between requests: kept for the next ones while they come, and given back to the system when they don't."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from contextlib import suppress

_CALM = 0.02  # of a processor
_BUSY_S = 1.0
# Of glibc's mallopt: how much may be free at the end of the heap, and what is larger is no part of it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_BYTES = 64 << 20, 32 << 20


def keep_for_the_next() -> None:
    """Keep what requests leave over for those that follow, until it is given back.

    To give memory back after each turn of a busy loop and to get it again, page by page, takes a sixth of its time where bodies are of
    some size.
    """
    with suppress(AttributeError, OSError):  # another C library than glibc
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)


class Leftovers:
    """A process's own. Looked at again and again, each time after a while."""

    def __init__(self) -> None:
        self._at_s, self._used_s = time.monotonic(), time.process_time()
        self._given_back_s = self._used_s

    def look(self) -> bool:
        """Give back what is left over where the process did nothing much since the last look, and had done something before."""
        now, used = time.monotonic(), time.process_time()
        calm = used - self._used_s < _CALM * (now - self._at_s)
        self._at_s, self._used_s = now, used
        if not calm or used - self._given_back_s < _BUSY_S:
            return False
        give_back()
        self._given_back_s = time.process_time()
        return True


def give_back() -> None:
    """Give back what no object needs."""
    gc.collect()
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
