"""Importing nbformat and nbclient without what they never use: a grammar of URLs that takes two seconds to compile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Where it is installed, jsonschema takes it for the formats `iri` and `uri`, which no notebook's schema has.
_SLOW = "rfc3987_syntax"


def import_nbformat() -> Any:
    """The module nbformat."""
    with _without_slow():
        import nbformat

        return nbformat


def import_client() -> Any:
    """The class nbclient.NotebookClient."""
    import_nbformat()
    from nbclient import NotebookClient

    return NotebookClient


@contextmanager
def _without_slow() -> Iterator[None]:
    if _SLOW in sys.modules or "jsonschema" in sys.modules:
        yield
        return
    sys.modules[_SLOW] = None  # type: ignore[assignment]  # Python's way to say that there is no such module
    try:
        yield
    finally:
        del sys.modules[_SLOW]
