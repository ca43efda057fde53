"""Which endpoint a path means, and what is told of those that are served here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from millrace.access.types import Caller
from millrace.serving.requests.admission import LATER, Refused
from millrace.serving.requests.generations import Generations, ServedEndpoint
from millrace.serving.requests.open_inference import model_metadata, repository_index, server_metadata
from millrace.serving.requests.routes import Route, route_of


class Directory:
    """The endpoints of a worker by the paths that lead to them.

    Args:
        generations: what is served.
        waiting: what can't be served yet, and why; whoever owns it changes it.
    """

    def __init__(self, generations: Generations, waiting: Mapping[str, str]) -> None:
        self._generations, self._waiting = generations, waiting

    def endpoint(self, route: Route, caller: Caller) -> ServedEndpoint:
        """The endpoint that a path means. Raises Refused: 403, 404, 503."""
        name = route.endpoint if route.endpoint is not None else self._only(caller)
        if not caller.rights.may_query(name):  # the same whether or not there is such an endpoint
            raise Refused(403, "PERMISSION_DENIED", f"{caller.name} may not query endpoint '{name}'")
        endpoint = self._generations.active(name)
        if endpoint is not None:
            return endpoint
        if name in self._waiting:
            why = f"endpoint '{name}' can't answer yet: {self._waiting[name]}"
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", why, LATER)
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"endpoint '{name}' is not served here")

    def is_active(self, endpoint: ServedEndpoint) -> bool:
        """Whether this is the generation of its endpoint that answers."""
        return self._generations.active(endpoint.name) is endpoint

    def known_name(self, path: str) -> str:
        """The endpoint that a path names; empty for one that is not served here."""
        route = route_of(path)
        name = "" if route is None else route.endpoint or ""
        return name if name in self._waiting or self._generations.active(name) else ""

    def entity(self, route: Route, endpoint: ServedEndpoint) -> str | None:
        """The served entity that a path names, by its name or by its model's version; None where it names none.

        Raises Refused: 404.
        """
        if route.entity is None and route.version is None:
            return None
        for name, served in endpoint.entities.items():
            if route.entity in {None, name} and route.version in {None, served.plan.entity.entity_version}:
                return name
        wanted = f"served entity '{route.entity}'" if route.version is None else f"version '{route.version}'"
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"endpoint '{endpoint.name}' has no {wanted}")

    def told(self, route: Route, caller: Callable[[], Caller]) -> tuple[int, object]:
        """Status and content of what is told at a path that asks for no answer; `caller` is called where rights matter.

        Raises Refused: as the others.
        """
        if route.what in {"live", "ready", "ping"}:
            return self._health(route)
        if route.what == "server":
            caller()
            return 200, server_metadata()
        if route.what == "index":
            may_query = caller().rights.may_query
            served = [name for name in self._generations.served() if may_query(name)]
            return 200, repository_index(served, {name: why for name, why in self._waiting.items() if may_query(name)})
        endpoint = self.endpoint(route, caller())
        entity = self.entity(route, endpoint)
        if route.what == "model_ready":
            return 200, {"name": endpoint.name, "ready": True}
        return 200, model_metadata(endpoint, endpoint.first if entity is None else endpoint.entities[entity])

    def _health(self, route: Route) -> tuple[int, object]:
        if route.what == "live":
            return 200, {"live": True}
        if route.what == "ready":
            return (503 if self._waiting else 200), {"ready": not self._waiting}
        return (200 if self._generations.served() else 404), {}

    def _only(self, caller: Caller) -> str:
        """The one endpoint that is served and that the caller may query, as an MLflow scoring server has one model."""
        served = self._generations.served().keys() | self._waiting.keys()
        names = [name for name in served if caller.rights.may_query(name)]
        if len(names) == 1:
            return names[0]
        message = f"{len(names)} endpoints are served here; ask one: /serving-endpoints/<name>/invocations"
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", message)
