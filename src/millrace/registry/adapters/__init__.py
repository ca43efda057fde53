"""Technologies behind the ports of `registry`."""

from __future__ import annotations
