"""Alerts: episodes that open, are told once, and resolve; and the outbox that tells them."""

from __future__ import annotations
