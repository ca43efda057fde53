"""Technologies behind the ports of `alerts`."""

from __future__ import annotations
