"""The feature-engineering client, with the signatures people know."""

from __future__ import annotations
