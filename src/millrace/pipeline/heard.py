"""What alerts and the policy hear of verdicts and episodes: the same in production and in a backtest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import cast

from millrace.alerts.types import Episode, Observation
from millrace.monitoring.types import WindowVerdict
from millrace.pipeline.policy import ESTIMATE, Trouble


def observation(subject: str, verdict: WindowVerdict) -> Observation:
    """The verdict as the alert rule hears it.

    An estimate that labels have shown to be wrong is taken back, so it counts as good: else what was estimated before would keep its
    episode open for as long as nothing can be estimated.
    """
    bad = False if verdict.trouble is None and is_taken_back(verdict) else verdict.trouble
    data = {"columns": list(verdict.columns), "score": verdict.score, "severity": verdict.severity, **verdict.figures}
    return Observation(subject, verdict.kind, verdict.end, bad, verdict.reason, data)


def windows(verdicts: Iterable[WindowVerdict]) -> Mapping[str, list[bool]]:
    """How conclusive windows ended, by kind of verdict; a kind that has none is left out.

    An estimate that is taken back takes those before it along: nobody should retrain by them.

    Args:
        verdicts: of one version, oldest first.
    """
    found: dict[str, list[bool]] = {}
    for verdict in verdicts:
        if is_taken_back(verdict):
            found[verdict.kind] = [False]
        elif verdict.bad is not None:
            found.setdefault(verdict.kind, []).append(verdict.bad)
    return found


def troubles(episodes: Sequence[Episode]) -> Sequence[Trouble]:
    """Open episodes of one version, of several kinds, are one trouble: it goes by the first, and has one retraining."""
    if not episodes:
        return []
    since: dict[str, datetime] = {}
    for episode in episodes:
        for kind in cast("list[str]", episode.data.get("kinds", [])):
            since[kind] = min(since.get(kind, episode.began_at), episode.began_at)
    reason = "; ".join(episode.reason for episode in episodes)
    began_at = min(episode.began_at for episode in episodes)
    return [Trouble(int(episodes[0].id), tuple(sorted(since)), began_at, reason, since)]


def is_taken_back(verdict: WindowVerdict) -> bool:
    """Whether labels have shown that the estimate can't be trusted."""
    return verdict.kind == ESTIMATE and verdict.figures.get("trusted") == 0.0
