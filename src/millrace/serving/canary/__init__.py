"""A challenger takes over the traffic step by step, with a verdict between the steps."""

from __future__ import annotations
