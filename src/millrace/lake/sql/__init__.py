"""Spark SQL as text: its tokens, the tables that it names, and what the statements do that concern tables of the lake."""

from __future__ import annotations
