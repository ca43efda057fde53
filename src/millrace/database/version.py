"""Today's schema version, for who does not need SQLAlchemy to read a database that has it."""

from __future__ import annotations

VERSION_KEY = "schema_version"
NEWEST = 7  # one more than there are steps in `migrations.py`
