"""Features inside a request: what is stored per key, how it is found, how it is published."""

from __future__ import annotations
