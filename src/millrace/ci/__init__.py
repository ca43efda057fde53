"""From a commit to production: targets, the stages of a CI pipeline, promotion between homes."""

from __future__ import annotations
