"""Who changes an endpoint: one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from millrace.core.errors import Conflict


class Claims:
    """The endpoints that are being changed. Thread-safe; a claim may be released by another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: set[str] = set()

    @contextmanager
    def claim(self, name: str) -> Iterator[None]:
        """Hold an endpoint until `release`; until the error, where there is one before.

        Raises:
            Conflict: it is held.
        """
        with self._lock:
            if name in self._claimed:
                raise Conflict(
                    f"endpoint '{name}' is being updated", hint="wait until that update has ended", endpoint=name
                )
            self._claimed.add(name)
        try:
            yield
        except BaseException:
            self.release(name)
            raise

    def release(self, name: str) -> None:
        """Let others change it."""
        with self._lock:
            self._claimed.discard(name)

    def __len__(self) -> int:
        """How many are being changed."""
        with self._lock:
            return len(self._claimed)

    def __contains__(self, name: str) -> bool:
        """Whether it is being changed."""
        with self._lock:
            return name in self._claimed
