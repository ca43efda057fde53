"""The alert rule over one version's verdicts, in memory: the same steps that `alerts.evaluate` takes with a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from millrace.alerts import episodes
from millrace.alerts.types import AlertRule, Episode, EpisodeId, Observation
from millrace.monitoring.types import WindowVerdict
from millrace.pipeline.backtest.types import Alert
from millrace.pipeline.backtest.watched import Known
from millrace.pipeline.heard import observation, troubles, windows
from millrace.pipeline.policy import Trouble


@dataclass
class Told:
    """Episodes about the version in production; those about the versions before it are kept as alerts."""

    rule: AlertRule
    alerts: list[Alert] = field(default_factory=list)
    _version: int = 0
    _seen: dict[str, list[Observation]] = field(default_factory=dict)
    _newest: dict[str, Episode] = field(default_factory=dict)
    _verdicts: list[WindowVerdict] = field(default_factory=list)

    def replace(self, version: int, at: datetime) -> None:
        """Another version is in production: the trouble of the one before is over, and the new one starts with a clean slate."""
        for episode in self._open():
            place = int(episode.id) - 1
            self.alerts[place] = replace(self.alerts[place], closed_at=at)
        self._version, self._seen, self._newest, self._verdicts = version, {}, {}, []

    def hear(self, known: Sequence[Known], now: datetime) -> None:
        """Take verdicts into account that have just become known."""
        for one in known:
            heard = observation(f"v{self._version}", one.verdict)
            self._seen.setdefault(heard.kind, []).append(heard)
            self._verdicts.append(one.verdict)
        for kind in sorted({one.verdict.kind for one in known} & set(self.rule.kinds)):
            self._of_kind(kind, now)

    @property
    def troubles(self) -> Sequence[Trouble]:
        """The open episodes, as the policy sees them."""
        return troubles(self._open())

    @property
    def windows(self) -> Mapping[str, Sequence[bool]]:
        """By kind, how its conclusive windows ended, oldest first."""
        return windows(self._verdicts)

    def _open(self) -> list[Episode]:
        return sorted((one for one in self._newest.values() if one.status == "open"), key=lambda one: int(one.id))

    def _of_kind(self, kind: str, now: datetime) -> None:
        episode = self._newest.get(kind)
        while fresh := episodes.conclusive(self._seen[kind], episodes.seen(episode)):
            if episode is None or episode.status == "resolved":
                trigger = episodes.opening(self.rule, fresh)
                if trigger is None:
                    return
                episode = replace(episodes.opened(self.rule, trigger, now), id=EpisodeId(len(self.alerts) + 1))
                self.alerts.append(_alert(episode, self._version))
            else:
                episode = episodes.advanced(self.rule, episode, fresh, now)
                place = int(episode.id) - 1
                self.alerts[place] = replace(self.alerts[place], closed_at=episode.closed_at)
            self._newest[kind] = episode


def _alert(episode: Episode, version: int) -> Alert:
    return Alert(
        number=int(episode.id),
        version=version,
        kind=episode.kind,
        began_at=episode.began_at,
        opened_at=episode.opened_at,
        closed_at=episode.closed_at,
        reason=episode.reason,
    )
