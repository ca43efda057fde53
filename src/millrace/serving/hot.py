"""The hot route of a worker: raw ASGI, no framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from millrace.core.clock import Clock
from millrace.features.port import OnlineStore
from millrace.serving.capture import CaptureLog
from millrace.serving.types import Endpoint

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
Authorize = Callable[[Headers], str | None]


class HotApp:
    """Answers `/serving-endpoints/{name}/invocations` and `/serving-endpoints/{name}/served-models/{served}/invocations`.

    Loading is slow and thread-safe: call `load` in a thread beside the event loop. `activate` and `remove` swap one
    reference and never wait: requests that are being answered finish with what they began with.

    Args:
        authorize: given the raw request headers, who is asking (`user:ada`), or None: 401.
        clock: tells when a request is asked, for lookups and for the log.
        online: feature values by key.
        capture: where requests are kept; None keeps nothing, whatever the endpoints say.
    """

    def __init__(
        self,
        authorize: Authorize,
        clock: Clock,
        online: OnlineStore,
        capture: CaptureLog | None,
        *,
        max_body_bytes: int = 16 << 20,
    ) -> None:
        self._authorize, self._clock, self._online, self._capture = authorize, clock, online, capture
        self._max_body_bytes = max_body_bytes

    @staticmethod
    def handles(scope: Scope) -> bool:
        """Whether this app answers the request; all else is the control process's."""
        raise NotImplementedError

    def load(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Load the models of an endpoint's configuration (a candidate or the stored one) without routing to them.

        Returns each entity's predict path and why, `xgboost: equal to ...`. Models that the active or the previous
        generation already holds are taken from there.

        Raises:
            MillraceError: a model can't be loaded.
        """
        raise NotImplementedError

    def activate(self, name: str, generation: int) -> None:
        """Route the endpoint to a loaded generation; the one before stays loaded for a way back.

        Raises:
            InvalidState: that generation was not loaded here.
        """
        raise NotImplementedError

    def discard(self, name: str, generation: int) -> None:
        """Drop a loaded generation that won't be activated; nothing where it isn't there or is active."""
        raise NotImplementedError

    def serve(self, endpoints: Iterable[Endpoint]) -> None:
        """Load and activate the stored endpoints that are ready: what a worker does when it starts."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Stop serving an endpoint; nothing where it isn't served."""
        raise NotImplementedError

    def served(self) -> Mapping[str, int]:
        """Endpoint name to active generation."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        raise NotImplementedError
