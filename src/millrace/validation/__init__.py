"""Gates: does a model deserve to go on? Verdicts are results, with reasons."""

from __future__ import annotations
