"""Verdicts as plain facts, for those who raise alerts from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from millrace.monitoring.types import WindowVerdict


class Seen(TypedDict):
    """One verdict as an observation of something: bad, good, or (None) not enough to say. `at` is the window's end."""

    subject: str
    kind: str
    at: datetime
    bad: bool | None
    reason: str
    data: dict[str, object]


def observe(verdicts: Sequence[WindowVerdict], subject: str, model_version: str | None = None) -> list[Seen]:
    """Verdicts, of one model version or all, as observations of a subject, in order."""
    chosen = [verdict for verdict in verdicts if model_version in (None, verdict.model_version)]
    return [
        Seen(
            subject=subject,
            kind=verdict.kind,
            at=verdict.end,
            bad=None if verdict.status == "insufficient_data" else verdict.status != "ok",
            reason=verdict.reason,
            data={"model_version": verdict.model_version, "score": verdict.score, "columns": list(verdict.columns)},
        )
        for verdict in chosen
    ]
