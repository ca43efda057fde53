"""Feature tables, lookups, training sets and the online store: one set of point-in-time rules everywhere."""

from __future__ import annotations
