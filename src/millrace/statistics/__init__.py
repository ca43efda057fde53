"""Metrics, intervals, bootstrap, distances: numpy and scipy only, written once."""

from __future__ import annotations
