"""Channels by name: rules and notifications hold names, and only one table of the database holds URLs with their secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from millrace.alerts.port import AlertDesk, ChannelBook
from millrace.alerts.types import Channel
from millrace.core.errors import AlreadyExists, InvalidInput, NotFound

ENV: Final = "env:"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
# Of these the host is no secret; of others (slack://TOKEN/...) it may be.
_HOST_IS_PLAIN = re.compile(r"(webhook\+)?https?|jsons?|xmls?|forms?")


def shown(url: str) -> str:
    """A URL as it may be printed: its scheme and, where that is no secret, its host."""
    scheme, separator, _ = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "***"
    try:
        host = urlsplit(url).hostname if _HOST_IS_PLAIN.fullmatch(scheme.lower()) else None
    except ValueError:
        host = None
    return f"{scheme}://{host}/***" if host else f"{scheme}://***"


def add_channel(desk: AlertDesk, name: str, url: str) -> Channel:
    """Keep a URL, or `env:VARIABLE`, under a name.

    Raises:
        InvalidInput: a bad name, or no URL that can be sent to.
        AlreadyExists: the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"'{name}' can't name a channel", hint="use letters, digits, _, . and -, at most 100")
    if not _VARIABLE.fullmatch(url):
        desk.channels.check(url)
    channel = Channel(name, url, str(desk.principal), desk.clock.now())
    desk.book.add(channel)
    return channel


def named(desk: AlertDesk, given: Sequence[str], *, strict: bool = False) -> tuple[str, ...]:
    """The names of channels that are given by name, as `env:VARIABLE` or as URL; a URL that has no name gets one.

    Raises:
        NotFound: a name that there is not, where `strict`; else it fails when it is sent to.
        InvalidInput: a URL that can't be sent to, where `strict`.
    """
    return tuple(_named(desk, each, strict=strict) for each in given)


def url_of(book: ChannelBook, name: str) -> str:
    """What a notification is sent to.

    Raises:
        NotFound: no such channel, or no such variable in this process's environment.
    """
    url = name if _VARIABLE.fullmatch(name) else book.get(name).url
    if not _VARIABLE.fullmatch(url):
        return url
    variable = url.removeprefix(ENV)
    value = os.environ.get(variable)
    if not value:
        raise NotFound(f"the environment variable {variable} is not set", hint="set it where alerts are delivered")
    return value


def _named(desk: AlertDesk, given: str, *, strict: bool) -> str:
    if _VARIABLE.fullmatch(given):
        return given
    if "://" not in given:
        if strict:
            desk.book.get(given)
        return given
    if strict:
        desk.channels.check(given)
    return _named_url(desk, given)


def _named_url(desk: AlertDesk, url: str) -> str:
    scheme = re.sub(r"[^A-Za-z0-9]+", "-", url.partition("://")[0].lower()) or "channel"
    while True:
        known = {channel.url: channel.name for channel in desk.book.list()}
        if url in known:
            return known[url]
        number = 1 + sum(name.startswith(f"{scheme}-") for name in known.values())
        while (name := f"{scheme}-{number}") in known.values():
            number += 1
        try:
            desk.book.add(Channel(name, url, str(desk.principal), desk.clock.now()))
        except AlreadyExists:
            continue  # another took the name at this moment
        return name
