"""Where models are deployed to."""

from __future__ import annotations
