"""Our own webhook: a CloudEvent, signed as Standard Webhooks has it.

Headers and signature: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
Body: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import httpx
import orjson

from millrace.alerts.adapters.hushed import hushed
from millrace.alerts.adapters.not_delivered import NotDelivered
from millrace.alerts.channel_names import shown
from millrace.alerts.deliver import Gone
from millrace.alerts.types import Notification
from millrace.core.clock import Clock, iso
from millrace.core.errors import InvalidInput

PREFIX: Final = "webhook+"
_TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0)
_SECRET: Final = "whsec_"  # noqa: S105 - only how a secret begins
_LEAST_BYTES, _MOST_BYTES = 24, 64
_FORM = "write webhook+https://whsec_SECRET@host/path; the secret is base64 of 24 to 64 bytes"
_INSECURE = "insecure"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook goes, what it is signed with, and whether it stays on this machine."""

    url: str
    secret: bytes
    is_here: bool = False


def send(notification: Notification, url: str, clock: Clock) -> None:
    """POST the notification, once: no redirect is followed, and only a 2xx answer within 20 s counts.

    `clock` is the machine's, also in a home with virtual time: receivers refuse timestamps that are not of now.

    Raises:
        NotDelivered: it did not answer, or answered otherwise.
        Gone: it answered 410, that it will never take anything again.
    """
    to = parse(url)
    body, at = cloud_event(notification), str(int(clock.now().timestamp()))
    headers = {
        "content-type": "application/cloudevents+json; charset=utf-8",
        "user-agent": "millrace",
        "webhook-id": notification.key,
        "webhook-timestamp": at,
        "webhook-signature": signature(to.secret, notification.key, at, body),
    }
    try:
        with (
            hushed(),
            # A proxy of the environment is for places beyond this machine.
            httpx.Client(timeout=_TIMEOUT, follow_redirects=False, trust_env=not to.is_here) as client,
        ):
            status = client.post(to.url, content=body, headers=headers).status_code
    except Exception as error:  # noqa: BLE001 - the edge: what it raises may show the URL
        raise NotDelivered(
            f"{shown(url)} failed with {type(error).__name__}", hint="can its host be reached?"
        ) from None
    if status == httpx.codes.GONE:
        raise Gone(f"{shown(url)} answered 410: it takes nothing any more", hint="remove the channel from the rules")
    if not httpx.codes.is_success(status):
        raise NotDelivered(
            f"{shown(url)} answered {status}", hint="only 2xx counts as taken; redirects are not followed"
        )


def cloud_event(notification: Notification) -> bytes:
    """The notification as a CloudEvent in JSON: eight fields, `id` being the idempotency key."""
    data = {key: value for key, value in notification.data.items() if key != "type"}
    event = {
        "specversion": "1.0",
        "id": notification.key,
        "source": f"/millrace/alerts/{quote(str(data.get('rule', '')))}",
        "type": str(notification.data.get("type", "io.millrace.alert")),
        "subject": str(data.get("subject", "")),
        "time": iso(notification.created_at),
        "datacontenttype": "application/json",
        "data": {**data, "title": notification.title, "body": notification.body},
    }
    return orjson.dumps(event)


def signature(secret: bytes, key: str, at: str, body: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over `key.at.body`."""
    signed = hmac.new(secret, f"{key}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def parse(url: str) -> Target:
    """Read a channel's URL: https, or http to this machine, with its secret before the host.

    Raises:
        InvalidInput: it is otherwise. `?insecure=yes` allows http to other hosts as well.
    """
    try:
        parts = urlsplit(url.removeprefix(PREFIX))
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput(f"{shown(url)} is not a URL", hint=_FORM) from None
    if parts.scheme not in {"https", "http"} or not host:
        raise InvalidInput(f"{shown(url)} is not a URL of a webhook", hint=_FORM)
    query = parse_qsl(parts.query, keep_blank_values=True)
    insecure = (_INSECURE, "yes") in query
    if parts.scheme == "http" and not (insecure or _is_loopback(host)):
        raise InvalidInput(
            f"{shown(url)} is not encrypted", hint="use https; ?insecure=yes in the URL allows http to another host"
        )
    rest = urlencode([pair for pair in query if pair[0] != _INSECURE])
    place = f"[{host}]" if ":" in host else host
    netloc = place if port is None else f"{place}:{port}"
    return Target(
        urlunsplit((parts.scheme, netloc, parts.path or "/", rest, "")),
        _secret(parts.username, url),
        _is_loopback(host),
    )


def _secret(text: str | None, url: str) -> bytes:
    given = unquote(text or "")
    try:
        # Both alphabets of base64, with or without its padding.
        plain = given.removeprefix(_SECRET).replace("-", "+").replace("_", "/")
        secret = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not given.startswith(_SECRET) or not _LEAST_BYTES <= len(secret) <= _MOST_BYTES:
        raise InvalidInput(f"{shown(url)} has no secret that it could be signed with", hint=_FORM)
    return secret


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
