"""Which served entity answers a request."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence

_WHOLE = 100
# Prime to 100: a hundred requests in a row hit each of the hundred buckets once, well mixed.
_STRIDE = 61


class Router:
    """Splits requests by percent. Whoever sends a key is always sent to the same entity; the others take turns.

    Attributes:
        only: the one that takes all traffic; None where several share it.
    """

    def __init__(self, traffic: Mapping[str, int], order: Sequence[str]) -> None:
        self._buckets = [name for name in order for _ in range(traffic.get(name, 0))]
        self._turns = itertools.count()
        self.only = self._buckets[0] if len(set(self._buckets)) == 1 else None

    def choose(self, key: bytes | None) -> str:
        """The entity's name."""
        if self.only is not None:
            return self.only
        if key is None:
            return self._buckets[next(self._turns) * _STRIDE % _WHOLE]
        return self._buckets[int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % _WHOLE]
