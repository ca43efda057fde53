from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from millrace.alerts.adapters.not_delivered import NotDelivered
from millrace.alerts.adapters.outgoing import OutgoingChannels
from millrace.alerts.adapters.webhook import parse, signature
from millrace.alerts.channel_names import add_channel, named, shown, url_of
from millrace.alerts.deliver import Gone
from millrace.alerts.secrets import signed_url
from millrace.alerts.types import Notification
from millrace.core.clock import ManualClock
from millrace.core.errors import AlreadyExists, InvalidInput, MillraceError, NotFound
from tests.unit.alerts.desk import Home

NOW = datetime(2025, 3, 1, tzinfo=UTC)
SECRET = "s3cr3t-t0ken"  # noqa: S105 - not one
KEY = bytes(range(32))
WHSEC = "whsec_" + base64.urlsafe_b64encode(KEY).decode()


class Hook:
    """A server on this machine, and what it was sent; the path says how it answers."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = int(self.path.split("/")[1][:3]) if self.path[1:4].isdecimal() else 200
                hook.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever)
        self.thread.start()

    def json_url(self, path: str = "ok") -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.server.server_port}/{path}"

    def url(self, path: str = "ok") -> str:
        return f"webhook+http://{WHSEC}@127.0.0.1:{self.server.server_port}/{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    opened = Hook()
    yield opened
    opened.close()


def message(type_: str = "io.millrace.alert.opened") -> Notification:
    data = {"type": type_, "rule": "churn", "subject": "churn v1", "kinds": ["drift"]}
    return Notification("opened/1", "churn: drift alert opened", "KS 0.31", (), NOW, data)


def channels() -> OutgoingChannels:
    return OutgoingChannels(ManualClock(NOW))


def test_apprise_gets_title_body_and_severity(hook: Hook) -> None:
    channels().send(message(), hook.json_url())
    channels().send(message("io.millrace.alert.resolved"), hook.json_url())
    opened, resolved = [json.loads(body) for _, body in hook.received]
    assert (opened["title"], opened["message"]) == ("churn: drift alert opened", "KS 0.31")
    assert (opened["type"], resolved["type"]) == ("warning", "success")


def test_the_webhook_is_a_signed_cloud_event(hook: Hook) -> None:
    channels().send(message(), hook.url("hooks/1?team=risk&insecure=yes"))
    ((headers, body),) = hook.received
    at = str(int(NOW.timestamp()))
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("opened/1", at)
    signed = hmac.new(KEY, f"opened/1.{at}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(signed).decode()
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert "authorization" not in headers
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "opened/1",
        "source": "/millrace/alerts/churn",
        "type": "io.millrace.alert.opened",
        "subject": "churn v1",
        "time": "2025-03-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "rule": "churn",
            "subject": "churn v1",
            "kinds": ["drift"],
            "title": "churn: drift alert opened",
            "body": "KS 0.31",
        },
    }


def test_the_signature_is_that_of_the_published_example() -> None:
    # From the specification's own test vectors, in the libraries of standard-webhooks.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [302, 400, 500, 503])
def test_only_a_2xx_counts_and_redirects_are_not_followed(hook: Hook, status: int) -> None:
    with pytest.raises(NotDelivered, match=f"answered {status}"):
        channels().send(message(), hook.url(str(status)))
    assert len(hook.received) == 1
    channels().send(message(), hook.url("204"))


def test_one_that_is_gone_says_so(hook: Hook) -> None:
    with pytest.raises(Gone):
        channels().send(message(), hook.url("410"))


def test_errors_name_the_channel_without_its_secrets(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bad = [
        hook.json_url("500"),
        f"nosuch://{SECRET}",
        f"{SECRET} is no url",
        f"slack://{SECRET}",
        f"webhook+http://{WHSEC}@127.0.0.1:9/{SECRET}",
        f"webhook+https://{SECRET}@host/x",
        f"webhook+https://host/{SECRET}",
        f"webhook+ftp://{SECRET}@host",
        f"webhook+https://{SECRET}@[nohost/",
        f"webhook+http://{WHSEC}@127.0.0.1:9/\x01{SECRET}",
    ]
    for url in bad:
        with pytest.raises(MillraceError) as raised:
            channels().send(message(), url)
        told = f"{raised.value} {raised.value.facts} {raised.value.__cause__} {caplog.text}"
        assert SECRET not in told
        assert WHSEC not in told


def test_logs_of_libraries_say_nothing_while_we_send(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for url in (hook.url(SECRET), hook.json_url(SECRET), hook.json_url(f"500/{SECRET}")):
        with suppress(NotDelivered):
            channels().send(message(), url)
    assert len(hook.received) == 3
    assert SECRET not in caplog.text
    logging.getLogger("httpx").info("of others")
    assert "of others" in caplog.text


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        (f"webhook+https://{WHSEC}@hooks.example.com/a?x=1", "https://hooks.example.com/a?x=1"),
        (f"webhook+https://{WHSEC}@hooks.example.com", "https://hooks.example.com/"),
        (f"webhook+http://{WHSEC}@localhost:8080/a", "http://localhost:8080/a"),
        (f"webhook+http://{WHSEC}@[::1]:8080/a", "http://[::1]:8080/a"),
        (f"webhook+http://{WHSEC}@hooks.example.com/a?insecure=yes&x=1", "http://hooks.example.com/a?x=1"),
    ],
)
def test_the_secret_is_not_part_of_the_address(url: str, plain: str) -> None:
    target = parse(url)
    assert (target.url, target.secret) == (plain, KEY)


@pytest.mark.parametrize(
    "url",
    [
        f"webhook+http://{WHSEC}@hooks.example.com/a",  # not encrypted
        f"webhook+http://{WHSEC}@127.0.0.1.example.com/a",
        "webhook+https://hooks.example.com/a",  # no secret
        "webhook+https://whsec_c2hvcnQ@hooks.example.com/a",  # one that is too short
        f"webhook+https://{WHSEC}@/a",
    ],
)
def test_webhooks_that_can_not_be_trusted_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        channels().check(url)


def test_a_webhook_without_a_secret_gets_one() -> None:
    url, secret = signed_url("webhook+https://hooks.example.com/a")
    assert parse(url).secret == base64.b64decode(secret.removeprefix("whsec_"))
    assert len(parse(url).secret) == 32
    assert signed_url(url) == (url, "")
    assert signed_url("slack://a/b/c") == ("slack://a/b/c", "")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("slack://tokenA/tokenB/tokenC", "slack://***"),
        ("mailto://user:pass@gmail.com", "mailto://***"),
        ("json://user:pass@host:8080/secret?x=1", "json://host/***"),
        ("https://hooks.slack.com/services/T/B/X", "https://hooks.slack.com/***"),
        (f"webhook+https://{WHSEC}@hooks.example.com/a", "webhook+https://hooks.example.com/***"),
        ("nonsense", "***"),
        ("https://[broken", "https://***"),
    ],
)
def test_what_is_shown_of_a_url(url: str, told: str) -> None:
    assert shown(url) == told


def test_channels_are_given_by_name_variable_or_url() -> None:
    home = Home()
    home.channel("risk", "json://risk")
    given = named(home.desk, ["risk", "env:MAIL_URL", "json://other", "json://risk", "xml://x", "json://third"])
    assert given == ("risk", "env:MAIL_URL", "json-1", "risk", "xml-1", "json-2")
    assert named(home.desk, ["json://other"]) == ("json-1",)
    assert url_of(home.desk.book, "json-1") == "json://other"
    assert named(home.desk, ["nobody"]) == ("nobody",)
    with pytest.raises(NotFound):
        named(home.desk, ["nobody"], strict=True)
    with pytest.raises(InvalidInput):
        named(home.desk, ["nosuch://x"], strict=True)


def test_a_channel_may_be_a_variable_that_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    add_channel(home.desk, "mail", "env:MAIL_URL")
    with pytest.raises(NotFound, match="MAIL_URL is not set"):
        url_of(home.desk.book, "mail")
    monkeypatch.setenv("MAIL_URL", "json://one")
    assert url_of(home.desk.book, "mail") == "json://one"


def test_bad_names_and_urls_are_refused() -> None:
    home = Home()
    with pytest.raises(InvalidInput, match="can't name a channel"):
        add_channel(home.desk, "a b", "json://x")
    with pytest.raises(InvalidInput):
        add_channel(home.desk, "risk", "nosuch://x")
    add_channel(home.desk, "risk", "json://x")
    with pytest.raises(AlreadyExists):
        add_channel(home.desk, "risk", "json://y")
