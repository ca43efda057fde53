"""Feature functions: Python functions kept with their source, called alike in training, batches and requests."""

from __future__ import annotations
