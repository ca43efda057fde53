from __future__ import annotations

import pytest

from millrace.serving.requests.routes import OPEN, Route, is_hot, route_of


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/serving-endpoints/churn/invocations", Route("answer", "churn")),
        ("/serving-endpoints/churn/served-models/churn-1/invocations", Route("answer", "churn", "churn-1")),
        ("/invocations", Route("answer")),
        ("/ping", Route("ping")),
        ("/v2", Route("server", v2=True)),
        ("/v2/", Route("server", v2=True)),
        ("/v2/health/live", Route("live", v2=True)),
        ("/v2/health/ready", Route("ready", v2=True)),
        ("/v2/repository/index", Route("index", v2=True)),
        ("/v2/models/churn", Route("model", "churn", v2=True)),
        ("/v2/models/churn/ready", Route("model_ready", "churn", v2=True)),
        ("/v2/models/churn/infer", Route("answer", "churn", v2=True)),
        ("/v2/models/churn/versions/3", Route("model", "churn", version="3", v2=True)),
        ("/v2/models/churn/versions/3/ready", Route("model_ready", "churn", version="3", v2=True)),
        ("/v2/models/churn/versions/3/infer", Route("answer", "churn", version="3", v2=True)),
        ("/v2/models/churn/other", None),
        ("/v2/models/", None),
        ("/v2/models", None),
        ("/v2/health", None),
        ("/v2/models/churn/versions/3/infer/more", None),
    ],
)
def test_paths(path: str, route: Route | None) -> None:
    assert is_hot(path)
    assert route_of(path) == route


@pytest.mark.parametrize(
    "path",
    ["/", "/api/2.0/serving-endpoints", "/v2x", "/ping/x", "/x/invocations", "/serving-endpoints/churn", "/v20/y"],
)
def test_paths_of_others(path: str) -> None:
    assert not is_hot(path)


def test_health_is_open() -> None:
    assert {path for path in OPEN if is_hot(path)} == OPEN
