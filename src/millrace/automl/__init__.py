"""AutoML: a search with an honest budget, every trial a tracked run with a notebook."""

from __future__ import annotations
