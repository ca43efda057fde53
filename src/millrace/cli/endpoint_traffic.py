"""`millrace endpoint`: traffic, shadow, canary, rollback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.core.errors import InvalidInput, InvalidState, UsageError
from millrace.core.names import did_you_mean

if TYPE_CHECKING:
    from millrace.serving.canary.types import CanaryLimits
    from millrace.serving.types import Endpoint
    from millrace.targets.port import DeploymentTarget
    from millrace.targets.types import DeploymentStatus

Version = Annotated[str, Parameter(name="--version", help="The model's version.")]
Model = Annotated[
    str | None, Parameter(name="--model", help="The registered model; by default the one that the endpoint serves.")
]


def traffic(
    name: str,
    shares: Annotated[Sequence[str], Parameter(help="Served entities and their percents: churn-1=90 churn-2=10.")],
    *,
    home: Home = None,
    json: Json = False,
) -> int:
    """Split the traffic of an endpoint by percent; whoever sends keys or ids stays with one entity. Ends a canary."""
    split = dict(_percent(share) for share in shares)
    return _change(name, home, lambda target, _: target.split(name, split), json=json)


def shadow(
    name: str,
    *,
    version: Version,
    percent: Annotated[int, Parameter(name="--percent", help="Of the requests; 0 ends it.")],
    model: Model = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Copy a percent of the requests to a version. Its answers are logged, and never returned."""
    return _change(
        name,
        home,
        lambda target, endpoint: target.shadow(name, model or _model(endpoint), version, percent),
        json=json,
    )


def canary(
    name: str,
    *,
    version: Version,
    model: Model = None,
    steps: Annotated[str, Parameter(name="--steps", help="Percents of the traffic, the last 100.")] = "10,50,100",
    shadow: Annotated[int, Parameter(name="--shadow", help="Percent of the requests in a step in shadow before.")] = 0,
    min_requests: Annotated[int, Parameter(name="--min-requests", help="What a step needs of each side.")] = 500,
    min_labels: Annotated[int, Parameter(name="--min-labels", help="How many labels it needs; 0: what came.")] = 0,
    wait_hours: Annotated[float, Parameter(name="--wait-hours", help="How long a step may take to get there.")] = 24.0,
    after_wait: Annotated[
        Literal["go", "stop"], Parameter(name="--after-wait", help="What is decided then, with nothing against it.")
    ] = "stop",
    limit: Annotated[
        list[str] | None,
        Parameter(name="--limit", negative="", help="How much worse it may be: errors=0.02; may be repeated."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Let a version take over from the one that serves, step by step; a bad one is rolled back by itself."""
    from millrace.serving.canary.documents import settings_document
    from millrace.serving.canary.types import CanarySettings

    settings = CanarySettings(
        steps=tuple(_whole(step, "--steps") for step in steps.split(",")),
        shadow=shadow,
        min_requests=min_requests,
        min_labels=min_labels,
        wait=timedelta(hours=wait_hours),
        after_wait=after_wait,
        limits=_limits(limit or []),
    )

    def begin(target: DeploymentTarget, endpoint: Endpoint) -> DeploymentStatus:
        from millrace.targets.types import DeploymentSpec

        spec = DeploymentSpec(name, model or _model(endpoint), version, canary=settings_document(settings))
        # A pipeline that asks again is told that all is well; a person is told that nothing begins.
        if _taking(endpoint) == {(spec.model, version)}:
            raise InvalidInput(f"{spec.model} v{version} is what endpoint '{name}' serves", hint="name another version")
        return target.deploy(spec)

    return _change(name, home, begin, json=json)


def rollback(
    name: str,
    *,
    why: Annotated[str, Parameter(help="For the log.")] = "rolled back by hand",
    home: Home = None,
    json: Json = False,
) -> int:
    """Serve again what an endpoint served before, at once; a canary that is under way is rolled back.

    A pipeline's production alias stays where it is: `millrace rollback` moves the two together.
    """
    return _change(name, home, lambda target, _: target.roll_back(name, why), json=json)


def _change(
    name: str, home: Path | None, change: Callable[[DeploymentTarget, Endpoint], DeploymentStatus], *, json: bool
) -> int:
    """Make a change through the home's server, and print how the endpoint stands then."""
    from millrace.cli.endpoint import show
    from millrace.serving.types import EndpointName
    from millrace.workspace import open_target, require_home

    workspace = require_home(home)
    try:
        endpoint = workspace.endpoints.get(EndpointName(name))
        with open_target(workspace) as target:
            status = change(target, endpoint)
    finally:
        workspace.close()
    if status.state != "ready":
        raise InvalidState(
            f"endpoint '{name}' was not changed: {status.message or status.state}",
            hint="it serves what it did before; the server's log in the home's logs/ may say more",
        )
    return show(name, home=home, json=json)


def _model(endpoint: Endpoint) -> str:
    names = {entity.entity_name for entity in endpoint.config.served}
    if len(names) != 1:
        raise UsageError(f"endpoint '{endpoint.name}' serves {len(names)} models", hint="name one with --model")
    return names.pop()


def _taking(endpoint: Endpoint) -> set[tuple[str, str | None]]:
    config = endpoint.config
    return {(entity.entity_name, entity.entity_version) for entity in config.served if config.traffic.get(entity.name)}


def _percent(share: str) -> tuple[str, int]:
    name, found, percent = share.rpartition("=")
    if not found or not name:
        raise UsageError(f"{share} is not ENTITY=PERCENT", hint="write churn-1=90 churn-2=10")
    return name, _whole(percent, share)


def _whole(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{what}: '{text}' is not a whole number", hint="give whole percents, as 10,50,100") from None


def _limits(given: Sequence[str]) -> CanaryLimits:
    from dataclasses import fields

    from millrace.serving.canary.types import CanaryLimits

    known, limits = [field.name for field in fields(CanaryLimits)], dict[str, float]()
    for limit in given:
        name, _, value = limit.partition("=")
        if name not in known:
            raise UsageError(f"there is no limit '{name}'", hint=did_you_mean(name, known))
        try:
            limits[name] = float(value)
        except ValueError:
            raise UsageError(f"--limit {limit} is not NAME=NUMBER", hint="write --limit errors=0.02") from None
    return CanaryLimits(**limits)
