"""Pictures and pages for people: shapes, plots' axes, and HTML that needs nothing else. Standard library only."""

from __future__ import annotations
