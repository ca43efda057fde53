"""What a path of the hot app asks for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

What = Literal["answer", "ping", "live", "ready", "server", "index", "model", "model_ready"]

_PREFIX, _SUFFIX, _SERVED = "/serving-endpoints/", "/invocations", "/served-models/"
# Who asks for these sends no token.
OPEN: Final = frozenset({"/ping", "/v2/health/live", "/v2/health/ready"})


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for.

    Attributes:
        endpoint: None for the only one that there is.
        entity: the served entity by its name, where the path names one.
        version: the served entity by its model version, where the path names one.
        v2: whether it is asked, and answered, in Open Inference Protocol.
    """

    what: What
    endpoint: str | None = None
    entity: str | None = None
    version: str | None = None
    v2: bool = False

    @property
    def method(self) -> str:
        """How it is asked."""
        return "POST" if self.what in {"answer", "index"} else "GET"


def is_hot(path: str) -> bool:
    """Whether a path is the hot app's. Asked of every request, so it only looks at both ends."""
    if path.endswith(_SUFFIX):
        return path.startswith(_PREFIX) or path == _SUFFIX
    return speaks_v2(path) or path == "/ping"


def speaks_v2(path: str) -> bool:
    """Whether what is at a path, and errors there, are in Open Inference Protocol."""
    return path.startswith("/v2/") or path == "/v2"


@lru_cache(maxsize=1024)
def route_of(path: str) -> Route | None:
    """The route of a path; None where there is nothing, and for one that is not `is_hot`."""
    if not is_hot(path):
        return None
    if path.startswith(_PREFIX):
        name, found, entity = path[len(_PREFIX) : -len(_SUFFIX)].partition(_SERVED)
        return Route("answer", name, entity if found else None)
    return _FIXED.get(path) or _model(path.split("/")[2:])


def _model(parts: list[str]) -> Route | None:
    """`/v2/models/{endpoint}[/versions/{version}][/ready|/infer]`."""
    version: str | None = None
    rest: list[str]
    match parts:
        case ["models", name, "versions", version, *rest]:
            pass
        case ["models", name, *rest]:
            pass
        case _:
            return None
    what = _MODEL.get("/".join(rest))
    return None if what is None or not name else Route(what, name, version=version, v2=True)


_MODEL: Final[dict[str, What]] = {"": "model", "ready": "model_ready", "infer": "answer"}
_FIXED: Final = {
    "/invocations": Route("answer"),
    "/ping": Route("ping"),
    "/v2": Route("server", v2=True),
    "/v2/": Route("server", v2=True),
    "/v2/health/live": Route("live", v2=True),
    "/v2/health/ready": Route("ready", v2=True),
    "/v2/repository/index": Route("index", v2=True),
}
