"""What a request says before its body: whether it can be answered at all, and how the body is to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from millrace.serving.bodies.body import Dialect, Envelope
from millrace.serving.bodies.dialects import OFFERED, V2, dialect_of
from millrace.serving.requests.content_coding import CODINGS, Coding
from millrace.serving.requests.routes import Route, route_of

Headers = Sequence[tuple[bytes, bytes]]
Sent = Mapping[bytes, bytes]
"""A request's headers by name; of several with one name the last."""

LATER: Headers = [(b"retry-after", b"5")]
_LONGEST_ID = 256
_BOOLEANS = {"true": True, "false": False}


class Refused(Exception):
    """The request is answered with an error before its body is read."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


def found_route(path: str, method: str) -> Route:
    """What a request asks for. Raises Refused: 404, 405."""
    route = route_of(path)
    if route is None:
        message = "there is nothing at this path; try /v2/models/<endpoint>"
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", message)
    if method != route.method:
        raise Refused(405, "BAD_REQUEST", f"send a {route.method} request", [(b"allow", route.method.encode())])
    return route


def dialect_for(route: Route, sent: Sent) -> Dialect:
    """How the body is written. Raises Refused: 415."""
    dialect = dialect_of(sent.get(b"content-type"))
    if dialect is None or (route.v2 and dialect.name != "json"):
        raise Refused(415, "BAD_REQUEST", f"send {'JSON' if route.v2 else f'one of the content types {OFFERED}'}")
    return V2 if route.v2 else dialect


def coding_of(sent: Sent) -> Coding:
    """How the body is packed. Raises Refused: 415."""
    if b"content-encoding" not in sent:
        return "identity"
    coding = CODINGS.get(sent[b"content-encoding"].strip().lower())
    if coding is None:
        raise Refused(415, "BAD_REQUEST", "send the body in gzip, or as it is", [(b"accept-encoding", b"gzip")])
    return coding


def client_id_of(sent: Sent) -> str | None:
    """The caller's own id of the request in `x-request-id`; None without one, and for what is no short text."""
    given = sent.get(b"x-request-id")
    if given is None or not 0 < len(given) <= _LONGEST_ID:
        return None
    text = given.decode("latin-1")
    return text if text.isprintable() else None


def envelope_of(query: bytes, plain: Envelope) -> Envelope:
    """What the query string says: `predict_proba=true`, `client_request_id=...`. Raises Refused: 400."""
    if not query:
        return plain
    said = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if said.keys() - {"predict_proba", "client_request_id"}:
        raise Refused(
            400, "BAD_REQUEST", "the query string has what is not known; there is: predict_proba, client_request_id"
        )
    proba = _BOOLEANS.get(said.get("predict_proba", "false").lower())
    if proba is None:
        raise Refused(400, "BAD_REQUEST", "predict_proba in the query string is neither true nor false")
    return replace(plain, predict_proba=proba, client_request_id=said.get("client_request_id"))
