"""What a backtest found, for people: sentences, plots, a page."""

from __future__ import annotations
