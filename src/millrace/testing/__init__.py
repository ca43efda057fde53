"""Conformance suites for adapters, shipped with the package."""

from __future__ import annotations
