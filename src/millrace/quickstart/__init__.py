"""A shop, two years of it, and the whole loop lived through in virtual time."""

from __future__ import annotations
