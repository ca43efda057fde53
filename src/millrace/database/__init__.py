"""The workspace database: its tables, migrations, the home's clock, the event log, settings kept in the home."""

from __future__ import annotations
