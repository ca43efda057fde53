"""Technologies behind the ports of `lake`."""

from __future__ import annotations
