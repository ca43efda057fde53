"""Technologies behind the ports of `tracking`."""

from __future__ import annotations
