"""Technologies behind the ports of `jobs`."""

from __future__ import annotations
