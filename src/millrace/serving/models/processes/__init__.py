"""Models whose packages differ from those installed here, each in a process of its own."""

from __future__ import annotations
