"""What makes jobs run by themselves: the ticks of their schedules, and what their triggers wait for."""

from __future__ import annotations
