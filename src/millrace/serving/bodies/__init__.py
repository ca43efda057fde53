"""Requests as callers write them: the formats, read into rows."""

from __future__ import annotations
