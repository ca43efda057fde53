"""Technologies behind the ports of `features`."""

from __future__ import annotations
