"""The leak audit: what was computed from the past must not change when the future does."""

from __future__ import annotations
