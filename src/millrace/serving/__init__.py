"""Endpoints: requests in, features looked up, predictions out, all of it captured."""

from __future__ import annotations
