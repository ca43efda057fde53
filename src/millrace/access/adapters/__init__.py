"""Technologies behind the ports of `access`."""

from __future__ import annotations
