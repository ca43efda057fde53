"""The heads of requests, each read once: who asks again sends the same bytes again, but for the length of the body."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from millrace.api.callers import Badge
from millrace.serving.requests.lane import Head

_END = b"\r\n\r\n"
_LONGEST, _MOST_KNOWN = 2 << 10, 512  # bytes of a head, and how many are known at once: a few megabytes
_HOT = (b"/invocations", b"/infer")
_LONGEST_URL = 1024
_MOST_DIGITS = 9


@dataclass(slots=True, eq=False)
class Opening:
    """The beginning of a request that a lane may take.

    Attributes:
        head: what it says.
        size: its bytes.
        whole: the bytes of the request, with the body.
        badge: whose token it carries, as the callers had it last; None before anybody has looked.
    """

    head: Head
    size: int
    whole: int
    badge: Badge | None = None


class Heads:
    """The openings of requests, which are known by their bytes until some hundred others have come.

    These hold tokens. A dict finds them by all of their bytes, hashed with a key that nobody knows: how long that takes tells
    nothing of what others have sent.

    Args:
        most_bytes: of a body that the lane takes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._known: dict[bytes, Opening | None] = {}

    def opening(self, sent: bytes) -> Opening | None:
        """What a request begins with; None for what is not the lane's, or has not come as far as its body."""
        end = sent.find(_END, 0, _LONGEST)
        if end < 0:
            return None
        raw = sent[: end + len(_END)]
        try:
            return self._known[raw]
        except KeyError:
            return self._learned(raw)

    def _learned(self, raw: bytes) -> Opening | None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = self._known[raw] = _opening(raw, self._most_bytes)
        return found


class _Reader:
    """Takes what the parser finds, as uvicorn does."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_whole = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.is_whole = True


def _opening(raw: bytes, most_bytes: int) -> Opening | None:
    reader = _Reader()
    parser = HttpRequestParser(reader)
    try:
        parser.feed_data(raw)
    except (HttpParserError, HttpParserUpgrade):
        return None
    sent = dict(reader.headers)
    asked, length = _asked(reader.url), sent.get(b"content-length", b"")
    # Which of two headers of one name counts is for the usual way to say.
    plain = reader.is_whole and len(sent) == len(reader.headers) and not _SPECIAL & sent.keys()
    kept = parser.get_method() == b"POST" and parser.get_http_version() == "1.1" and parser.should_keep_alive()
    if asked is None or not plain or not kept or not _is_short(length, most_bytes):
        return None
    return Opening(Head(*asked, sent), len(raw), len(raw) + int(length))


# What changes how a request is read, or what is answered before its body.
_SPECIAL = {b"transfer-encoding", b"expect", b"upgrade"}


def _is_short(length: bytes, most_bytes: int) -> bool:
    return length.isdigit() and len(length) <= _MOST_DIGITS and int(length) <= most_bytes


def _asked(url: bytes) -> tuple[str, bytes] | None:
    """Path, unquoted, and query of a URL that the lane might take; None for others, and for those in which uvicorn may see something else."""
    path, _, query = url.partition(b"?")
    if len(url) > _LONGEST_URL or not path.endswith(_HOT) or path[:1] != b"/" or b"#" in url or not url.isascii():
        return None
    return unquote(path.decode("ascii")), query
