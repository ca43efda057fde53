"""What runs inside the kernel's process: `python -m millrace.notebooks.kernel -f CONNECTION_FILE`."""

from __future__ import annotations
