"""Names, types, errors, clock, principal, settings, events: the standard library only."""

from __future__ import annotations
