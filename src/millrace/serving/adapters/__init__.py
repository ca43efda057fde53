"""Technologies behind the ports of `serving`."""

from __future__ import annotations
