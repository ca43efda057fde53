"""From segments to Delta, exactly once."""

from __future__ import annotations

from pathlib import Path

from millrace.lake.lake import Lake
from millrace.serving.types import DrainResult


def drain(lake: Lake, capture_root: Path) -> DrainResult:
    """Move all sealed segments, and those of dead workers, into the inference tables; then delete them.

    Exactly once, whenever it is killed: call it again and it goes on. One drain at a time: a second waits for the first.
    Which tables the records go to is in the segments; tables are made where they are missing.
    """
    raise NotImplementedError
