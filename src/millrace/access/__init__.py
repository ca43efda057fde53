"""Who may ask: tokens, the rights they carry, and the caller that a request is answered for."""

from __future__ import annotations
