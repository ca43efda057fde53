from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select

from millrace.alerts.adapters.apprise import AppriseChannels, NotDelivered
from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore
from millrace.alerts.deliver import deliver
from millrace.alerts.types import Episode, EpisodeId, Notification
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, MillraceError
from millrace.database.engine import open_database
from millrace.database.schema import outbox

NOW = datetime(2025, 3, 1, tzinfo=UTC)
SECRET = "s3cr3t-t0ken"  # noqa: S105 - not one


class Hook:
    """A webhook on this machine, and what it was sent; paths with `broken` answer 500."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                broken = "broken" in self.path
                if not broken:
                    hook.received.append(json.loads(body))
                self.send_response(500 if broken else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever)
        self.thread.start()

    def url(self, path: str = "ok") -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.server.server_port}/{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    opened = Hook()
    yield opened
    opened.close()


def message(*channels: str, key: str = "opened/1", type_: str = "io.millrace.alert.opened") -> Notification:
    return Notification(key, "churn: drift alert opened", "KS 0.31", channels, NOW, {"type": type_})


def test_a_webhook_gets_title_body_and_severity(hook: Hook) -> None:
    AppriseChannels().send(message(hook.url()))
    AppriseChannels().send(message(hook.url(), type_="io.millrace.alert.resolved"))
    opened, resolved = hook.received
    assert (opened["title"], opened["message"]) == ("churn: drift alert opened", "KS 0.31")
    assert (opened["type"], resolved["type"]) == ("warning", "success")


def test_errors_name_the_channel_without_its_secrets(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bad = [hook.url("broken"), f"nosuch://{SECRET}", f"{SECRET} is no url", f"slack://{SECRET}"]
    for url in bad:
        with pytest.raises(MillraceError) as raised:
            AppriseChannels().send(message(hook.url(), url))
        assert "channel 2" in raised.value.message
        assert SECRET not in f"{raised.value} {raised.value.__cause__} {caplog.text}"
    assert len(hook.received) == len(bad)  # the good channel got each of them


def test_a_channel_that_took_it_is_not_sent_it_again(hook: Hook) -> None:
    channels = AppriseChannels()
    for _ in range(3):
        with pytest.raises(NotDelivered, match=r"channel 2 \(json\) did not take the notification"):
            channels.send(message(hook.url(), hook.url("broken")))
    assert len(hook.received) == 1


def test_an_unknown_url_is_invalid() -> None:
    with pytest.raises(InvalidInput, match=r"channel 1 \(nosuch\) is not a URL that Apprise knows"):
        AppriseChannels().send(message("nosuch://x"))


def episode(subject: str) -> Episode:
    return Episode(EpisodeId(0), "churn", subject, "open", NOW, NOW, NOW, None, "KS 0.31")


def test_one_bad_channel_stops_no_other(hook: Hook) -> None:
    engine = open_database("sqlite://")
    store, channels, clock = SqlEpisodeStore(engine), AppriseChannels(), ManualClock(NOW)
    store.open(episode("a"), message(hook.url("broken"), key="a"))
    store.open(episode("b"), message(hook.url(), key="b"))
    store.open(episode("c"), message(key="c"))  # no channel: for the workspace's own log
    assert deliver(store, channels, clock) == 2
    assert [one.key for one in store.unsent()] == ["a"]
    assert deliver(store, channels, clock) == 0
    assert len(hook.received) == 1
    with engine.connect() as connection:
        rows = {row.key: row for row in connection.execute(select(outbox))}
    assert (rows["a"].attempts, rows["a"].sent_us) == (2, None)
    assert SECRET not in rows["a"].last_error
    assert rows["b"].sent_us is not None
