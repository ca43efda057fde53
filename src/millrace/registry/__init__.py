"""Models, versions, aliases and the promotion log."""

from __future__ import annotations
