"""The `millrace` command: thin commands over the use cases."""

from __future__ import annotations
