"""Clients that keep account: what was acknowledged, what was dropped by its own answer, what was never answered."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.integration.constant_model import ROW

BODY = json.dumps({"dataframe_records": [ROW]})
_OK = 200


@dataclass(frozen=True)
class Answer:
    """A prediction that was read, by which served model, and from when (by time.monotonic) until when it was asked for."""

    model: str
    predictions: list[object]
    asked_s: float
    read_s: float


@dataclass
class Account:
    """What happened to the requests of all clients.

    Attributes:
        acknowledged: ids of answers that were read as a whole, with status 200 and without a declared drop.
        dropped: ids of answers that said that their record was dropped.
        failed: answers with another status.
        unanswered: requests that were sent and whose connection ended before their answer was read. Their rows may be there or not.
        answers: those with status 200.
    """

    acknowledged: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    unanswered: int = 0
    answers: list[Answer] = field(default_factory=list)

    def __len__(self) -> int:
        """How many answers were read."""
        return len(self.acknowledged) + len(self.dropped) + len(self.failed)

    def grow_by(self, answers: int) -> None:
        """Wait for so many more answers."""
        seen = len(self)
        wait(lambda: len(self) >= seen + answers)


class Clients:
    """Some connections that ask as fast as they are answered. Nothing is asked twice: no retries hide an error."""

    def __init__(self, url: str, token: str, endpoint: str) -> None:
        self.account = Account()
        self._netloc, self._path = urlsplit(url).netloc, f"/serving-endpoints/{endpoint}/invocations"
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._stop, self._lock = threading.Event(), threading.Lock()

    @contextmanager
    def asking(self, count: int) -> Iterator[Account]:
        """While this is open, so many clients ask."""
        threads = [threading.Thread(target=self._ask_on) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield self.account
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _ask_on(self) -> None:
        connection = http.client.HTTPConnection(self._netloc, timeout=30)
        while not self._stop.is_set():
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError:
                time.sleep(0.02)  # nobody listens: nothing was asked
                continue
            asked_s = time.monotonic()
            try:
                connection.request("POST", self._path, BODY, self._headers)
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._lock:
                    self.account.unanswered += 1
                continue
            self._enter(response, text, asked_s)
        connection.close()

    def _enter(self, response: http.client.HTTPResponse, text: str, asked_s: float) -> None:
        account, request_id, read_s = self.account, response.headers["databricks-request-id"], time.monotonic()
        with self._lock:
            if response.status != _OK:
                account.failed.append((response.status, text))
                return
            model, predictions = response.headers["served-model-name"], json.loads(text)["predictions"]
            account.answers.append(Answer(model, predictions, asked_s, read_s))
            kept = response.headers["x-millrace-capture"] != "dropped"
            (account.acknowledged if kept else account.dropped).append(request_id)


def wait(until: Callable[[], bool], within_s: float = 120.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not until():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
