"""A verdict for people and for CI: a page with plots, Markdown, JUnit."""

from __future__ import annotations
