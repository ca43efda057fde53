"""Where a reply of the kernel has what the notebook's runner reads."""

from __future__ import annotations

KEY = "millrace"
