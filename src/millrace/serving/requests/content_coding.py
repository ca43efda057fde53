"""gzip around requests and answers."""

from __future__ import annotations

import gzip
import zlib
from typing import Final, Literal

Coding = Literal["gzip", "identity"]

CODINGS: Final[dict[bytes, Coding]] = {b"gzip": "gzip", b"x-gzip": "gzip", b"identity": "identity", b"": "identity"}
# Below this, packing saves nothing on the wire: the answer is one packet either way.
_WORTH_BYTES: Final = 1400
_WITH_GZIP_HEADER: Final = 31
_MOST_MEMBERS: Final = 16  # each costs a copy of what follows it, and an empty one has twenty bytes
_REFUSED: Final = frozenset({b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"})


def unpack(packed: bytes, most_bytes: int) -> bytes | None:
    """What was packed with gzip, in one member or several; None where it is more than `most_bytes`.

    Never unpacks more than that.

    Raises:
        ValueError: not gzip, cut off, or of more than 16 members.
    """
    parts: list[bytes] = []
    room = most_bytes
    while packed:
        if len(parts) == _MOST_MEMBERS:
            raise ValueError("too many members")
        member = zlib.decompressobj(_WITH_GZIP_HEADER)
        try:
            part = member.decompress(packed, room + 1)
        except zlib.error as error:
            raise ValueError("not gzip") from error
        if len(part) > room:
            return None
        if not member.eof:
            raise ValueError("cut off")
        parts.append(part)
        room -= len(part)
        packed = member.unused_data
    return b"".join(parts)


def packed(body: bytes, accepted: bytes) -> bytes | None:
    """The answer in gzip; None where that is not worth it or the caller's Accept-Encoding does not take it."""
    return gzip.compress(body, 1, mtime=0) if len(body) > _WORTH_BYTES and _takes_gzip(accepted) else None


def _takes_gzip(accepted: bytes) -> bool:
    for choice in accepted.lower().split(b","):
        coding, _, weight = choice.partition(b";")
        if coding.strip() in {b"gzip", b"*"}:
            return weight.replace(b" ", b"") not in _REFUSED
    return False
