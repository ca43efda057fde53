"""The stages of a CI pipeline, one module each: test, train, validate, deploy."""

from __future__ import annotations
