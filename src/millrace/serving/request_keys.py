"""The lookup keys in a request's rows."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.core.errors import InvalidInput
from millrace.features.online.key_bytes import encode_key
from millrace.features.online.keys import KeyReader, key_reader

_NONE = b"-"


class RequestKeys:
    """The lookup keys of one served entity.

    Args:
        types: Arrow type name of each request column that is a key.
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self._readers = {column: key_reader(column, kind) for column, kind in types.items()}

    def encoded(self, record: Mapping[str, object]) -> bytes | None:
        """Bytes that are equal for keys that a lookup takes for equal, in whatever format they were sent.

        A key that no lookup would take counts as not sent; None where the row has none.
        """
        parts = [_encoded(read, record.get(name)) for name, read in self._readers.items()]
        return None if parts.count(None) == len(parts) else b"".join(_NONE if part is None else part for part in parts)


def _encoded(read: KeyReader, value: object) -> bytes | None:
    try:
        return encode_key((read(value),))
    except InvalidInput:
        return None
