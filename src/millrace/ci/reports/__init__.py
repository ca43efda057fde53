"""How a stage ended, for programs (JUnit, JSON), for people (Markdown, HTML), and for the CI system that runs it."""

from __future__ import annotations
