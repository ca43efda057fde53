"""One Spark engine per home in a process, however often the home is opened: frames of two engines can't be joined."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.lake.port import SparkEngine


@dataclass
class _Shared:
    engine: SparkEngine
    users: int = 0


_lock = threading.Lock()
_shared: dict[Hashable, _Shared] = {}


def acquire(key: Hashable, make: Callable[[], SparkEngine]) -> SparkEngine:
    """The engine of that key, made by the first who asks. Each who asks has to release it."""
    own = (os.getpid(), key)  # a forked child can't use its parent's
    with _lock:
        if own not in _shared:
            _shared[own] = _Shared(make())
        _shared[own].users += 1
        return _shared[own].engine


def release(engine: SparkEngine) -> None:
    """Close the engine where nobody else uses it."""
    with _lock:
        own = next((key for key, shared in _shared.items() if shared.engine is engine), None)
        if own is not None:
            _shared[own].users -= 1
            if _shared[own].users > 0:
                return
            del _shared[own]
    engine.close()
