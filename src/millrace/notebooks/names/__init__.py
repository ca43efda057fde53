"""The names that every notebook has: `dbutils` and its parts, `display`, `displayHTML`."""

from __future__ import annotations
