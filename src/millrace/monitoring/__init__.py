"""Monitors: profile, drift and performance of an inference log, window by window."""

from __future__ import annotations
