"""Technologies behind the ports of `targets`."""

from __future__ import annotations
