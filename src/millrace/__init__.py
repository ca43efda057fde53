"""Millrace: the whole MLOps loop in one Python package."""

from __future__ import annotations
