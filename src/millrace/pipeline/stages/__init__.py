"""What a pipeline does, one small object per step: each knows its fingerprint and how to run."""

from __future__ import annotations
