"""What leaves the kernel: without secrets, and not more than a reader can bear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millrace.notebooks.secrets import Redactor

_SHOWN = {"stream", "display_data", "update_display_data", "execute_result", "error"}
_MOST_TEXT = 1_000_000  # characters that a cell may print
_MOST_DATA = 20_000_000  # characters of one display: a picture in base64


class Outgoing:
    """Stands before the session's `send`."""

    def __init__(self, session: Any, redactor: Redactor) -> None:
        self._session, self._send, self._redactor = session, session.send, redactor
        self._printed = 0
        session.send = self.send

    def begin(self) -> None:
        """A new cell, with room of its own."""
        self._printed = 0

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *rest: Any, **named: Any) -> Any:
        """The session's, with what is shown made fit."""
        if isinstance(msg_or_type, dict):
            kind, inside = msg_or_type.get("msg_type", ""), msg_or_type.get("content", {})
            fit = self._fit(kind, inside)
            if fit is None:
                return None
            return self._send(stream, {**msg_or_type, "content": fit}, content, *rest, **named)
        fit = self._fit(msg_or_type, content) if content is not None else content
        return None if fit is None and content is not None else self._send(stream, msg_or_type, fit, *rest, **named)

    def _fit(self, kind: str, content: Mapping[str, Any]) -> Any:
        """The content to send; None: it is not sent."""
        if kind == "stream":
            return self._cut(content)
        if kind in _SHOWN:
            return self._redactor.inside(_small(content))
        return self._redactor.inside(content) if kind == "execute_reply" else content

    def _cut(self, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
        left, text = _MOST_TEXT - self._printed, content["text"]
        if left < 0:
            return None
        self._printed += len(text)
        told = self._redactor.text(text)
        if len(text) > left:
            self._printed = _MOST_TEXT + 1
            told = (
                f"{told[:left]}\n[what else the cell printed is left out: it is more than {_MOST_TEXT:,} characters]\n"
            )
        return {**content, "text": told}


def _small(content: Mapping[str, Any]) -> Mapping[str, Any]:
    data = content.get("data")
    if not isinstance(data, dict):
        return content
    size = sum(len(value) for value in data.values() if isinstance(value, str))
    if size <= _MOST_DATA:
        return content
    return {**content, "data": {"text/plain": f"[left out: it has {size:,} characters, more than {_MOST_DATA:,}]"}}
