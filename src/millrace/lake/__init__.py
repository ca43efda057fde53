"""Three-level names over Delta tables: catalog, storage, sessions, import."""

from __future__ import annotations
