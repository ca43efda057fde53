"""The shop's own program: asks the endpoint about customers, by id only, over HTTP."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from millrace.core.errors import InvalidState

_TIMEOUT_S = 60.0  # a drain waits for a worker that is busy
_IDLE_S = 20.0
_OK = 200


@dataclass(slots=True)
class ShopClient:
    """One keep-alive connection to the server."""

    url: str
    token: str
    endpoint: str
    asked: int = 0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)
    _used_at_s: float = field(default=0.0, repr=False)

    def ask(self, customers: Iterable[int]) -> None:
        """One request per customer.

        Raises:
            InvalidState: the endpoint did not answer.
        """
        path = f"/serving-endpoints/{self.endpoint}/invocations"
        for customer in customers:
            body = json.dumps({"dataframe_records": [{"customer_id": int(customer)}]})
            self._post(path, body)
            self.asked += 1

    def drain(self) -> dict[str, object]:
        """Bring everything that was captured into the lake, now."""
        return self._post("/api/millrace/capture/drain", "{}")

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, body: str) -> dict[str, object]:
        if time.monotonic() - self._used_at_s > _IDLE_S:  # the server may have ended a connection that nobody used
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        answer: dict[str, object] = json.loads(response.read())
        self._used_at_s = time.monotonic()
        if response.status != _OK:
            raise InvalidState(
                f"{path} answered {response.status}: {answer.get('message')}", hint="see the home's logs/"
            )
        return answer
