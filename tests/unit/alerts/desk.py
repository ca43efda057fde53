"""A desk over a database of the test's own, with channels that take down what they are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from millrace.alerts.adapters.not_delivered import NotDelivered
from millrace.alerts.adapters.sql_channels import SqlChannelBook
from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore
from millrace.alerts.adapters.sql_outbox import SqlOutbox
from millrace.alerts.adapters.sql_rules import SqlRuleStore
from millrace.alerts.port import AlertDesk
from millrace.alerts.types import Channel, Notification, Observation
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, MillraceError
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog

START = datetime(2025, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Recorder:
    """Channels that keep what they were sent, by URL; those in `broken` raise what is there instead."""

    taken: list[tuple[str, str]] = field(default_factory=list)
    broken: dict[str, BaseException] = field(default_factory=dict)

    def send(self, notification: Notification, url: str) -> None:
        if url in self.broken:
            raise self.broken[url]
        self.taken.append((url, notification.key))

    def check(self, url: str) -> None:
        if not url.startswith("json://"):
            raise InvalidInput("no such URL")

    def keys(self) -> list[str]:
        return [key for _, key in self.taken]


@dataclass
class Lake:
    """SQL that answers with what the test says."""

    answers: dict[str, pa.Table | MillraceError] = field(default_factory=dict)

    def read(
        self, sql: str, now: datetime, limit: int = 10_000, *, parameters: Mapping[str, str] | None = None
    ) -> pa.Table:
        del now, parameters
        answer = self.answers[sql]
        if isinstance(answer, MillraceError):
            raise answer
        return answer.slice(0, limit)


class Home:
    """All that alerts need, and its parts."""

    def __init__(self, database: str = "sqlite://") -> None:
        self.engine = open_database(database)
        self.clock = ManualClock(START)
        self.sent, self.lake = Recorder(), Lake()
        self.desk = AlertDesk(
            clock=self.clock,
            principal=Principal("user", "ada"),
            events=SqlEventLog(self.engine),
            episodes=SqlEpisodeStore(self.engine),
            outbox=SqlOutbox(self.engine),
            rules=SqlRuleStore(self.engine),
            book=SqlChannelBook(self.engine),
            channels=self.sent,
            sql=self.lake,
        )

    def channel(self, name: str, url: str | None = None) -> str:
        self.desk.book.add(Channel(name, url or f"json://{name}", "user:ada", START))
        return name

    def told(self) -> list[str]:
        """The changes that were posted, oldest first."""
        return [str(one.data["type"]).rpartition(".")[2] for one in self.desk.episodes.posted()]

    def logged(self) -> list[str]:
        return [event.kind for event in self.desk.events.read()]


def refused(text: str = "answered 500") -> NotDelivered:
    return NotDelivered(text)


def days(
    marks: str,
    kind: str = "drift",
    subject: str = "endpoint/churn",
    first: int = 1,
    data: Mapping[str, object] | None = None,
) -> Sequence[Observation]:
    """One observation a day: x bad, X bad and critical, i bad but info only, . good, ? not enough to say."""
    meaning = {"x": True, "X": True, "i": True, ".": False, "?": None}
    severity = {"X": "critical", "i": "info"}
    return [
        Observation(
            subject,
            kind,
            START + timedelta(days=at),
            meaning[mark],
            f"{kind} {mark} on day {at}",
            {"day": at, "severity": severity.get(mark, "warning"), **(data or {})},
        )
        for at, mark in enumerate(marks, start=first)
    ]
