"""Endpoints in a workspace database that is a file, read without SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.database.reading import DatabaseReader, document
from millrace.serving.adapters.endpoint_rows import DOCUMENTS, endpoint_of, unknown
from millrace.serving.types import Endpoint, EndpointName


class SqliteEndpointReader:
    """An `EndpointReader` of the `endpoints` table."""

    def __init__(self, database: DatabaseReader) -> None:
        self._database = database

    def get(self, name: EndpointName) -> Endpoint:
        """The endpoint of that name."""
        found = self._database.rows("SELECT * FROM endpoints WHERE name = ?", name)
        if not found:
            raise unknown(name, self.list())
        return _read(found[0])

    def list(self) -> Sequence[Endpoint]:
        """Sorted by name."""
        return sorted(map(_read, self._database.rows("SELECT * FROM endpoints")), key=lambda endpoint: endpoint.name)


def _read(row: Mapping[str, Any]) -> Endpoint:
    return endpoint_of({**row, **{name: document(row[name]) for name in DOCUMENTS}})
