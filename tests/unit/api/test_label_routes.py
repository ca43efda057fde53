from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.access.types import CALLER, Caller, Rights, owner
from millrace.api import rest
from millrace.api.label_routes import LabelRoutes
from millrace.core.errors import MillraceError
from millrace.core.principal import Principal
from millrace.serving.capture.inference_tables import predictions_schema
from millrace.serving.endpoints import endpoints
from millrace.serving.types import Capture, Description, ServedEntity
from millrace.workspace import open_workspace

NOW = datetime(2025, 3, 10, tzinfo=UTC)
PATH = "/api/millrace/endpoints/churn/labels"
KEYS = (("customer_id", "int64"), ("shop", "string"))
DESCRIPTION = Description("d", "ml.logs.p", "churn", 1, "churn-3", "ml.models.churn", "3", KEYS, ())


class As:
    """An app whose requests all come from one caller."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.caller = app, owner("user:ada")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CALLER] = self.caller
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[As]:
    workspace = open_workspace(tmp_path_factory.mktemp("labels") / "home")
    workspace.clock.set(NOW)
    entity = ServedEntity("churn-3", "ml.models.churn", "3")
    config = endpoints.endpoint_config(entity, capture=Capture("ml", "logs", "p"))
    made = endpoints.create(workspace.endpoints, workspace.clock, Principal("user", "ada"), "churn", config)
    endpoints.activate(workspace.endpoints, workspace.clock, endpoints.candidate(made, ()), {})
    schema = predictions_schema(DESCRIPTION)
    workspace.lake.ensure("ml.logs.p_predictions", schema)
    row = {**dict.fromkeys(schema.names), "request_id": "r", "row": 0, "timestamp": NOW, "customer_id": 7, "shop": "x"}
    workspace.lake.append("ml.logs.p_predictions", pa.Table.from_pylist([row], schema=schema))
    routes = LabelRoutes(workspace, lambda: None).routes
    handlers = {MillraceError: rest.expected_failure, Exception: rest.bug}
    yield As(Starlette(routes=routes, exception_handlers=cast(Any, handlers)))
    workspace.close()


class Client:
    """Asks the app in this process."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def post(self, path: str, **request: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://127.0.0.1") as client:
                return await client.post(path, **request)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def client(served: As) -> Client:
    return Client(served)


def test_who_may_only_ask_labels_nothing(served: As, client: Client) -> None:
    served.caller = Caller("token:asker", Rights(query=frozenset({"churn"})))
    try:
        refused = client.post(PATH, json={"labels": [{"request_id": "r", "label": 1}]})
    finally:
        served.caller = owner("user:ada")
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "'labels' is not a list of objects"),
        ({"labels": [1]}, "'labels' is not a list of objects"),
        ({"labels": []}, "empty"),
        ({"labels": [{"request_id": "r", "label": 1}], "keys": "customer_id"}, "'keys' is not a list"),
        ({"labels": [{"request_id": "r", "label": 1}], "label": 5}, "'label' is not the name"),
        ({"labels": [{"request_id": "r", "label": 1}], "tolerance_days": "long"}, "'tolerance_days' is not a number"),
        ({"labels": [{"request_id": "r", "label": 1}], "tolerance_days": -1}, "can't be"),
        ({"labels": [{"request_id": "r", "label": [1]}]}, "label 'label' is list"),
        ({"labels": [{"customer_id": 7, "label": 1}]}, "no key was named"),
        (
            {"labels": [{"request_id": "r", "label": 1}], "tolerance": 7},
            "no option 'tolerance' (did you mean 'tolerance_days'?)",
        ),
        ({"labels": [{"request_id": "r", "label": 1}], "dry_run": "true"}, "'dry_run' is neither true nor false"),
    ],
)
def test_what_is_wrong_is_named(client: Client, body: object, said: str) -> None:
    refused = client.post(PATH, json=body)
    assert refused.status_code == 400
    assert said in refused.json()["message"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"labels": [{"request_id": "r", "label": "\\ud800"}]}', "not JSON"),
        (b'{"labels": [{"request_id": "r", "label": "\xff"}]}', "not JSON"),
        (b'{"labels": %s}' % (b"[" * 100_000 + b"]" * 100_000), "not JSON"),
        (b'{"labels": [{"request_id": "r", "label": %s}]}' % (b"[" * 400 + b"]" * 400), "in each other"),
        (b'{"labels": [{"request_id": "r", "label": 1}], "tolerance_days": 1e300}', "can't be"),
        (b'{"labels": [{"request_id": "r", "label": 1, "row": %s}]}' % (b"7" * 30), "row"),
    ],
)
def test_what_json_can_hold_and_we_can_not_is_refused(client: Client, content: bytes, said: str) -> None:
    refused = client.post(PATH, content=content)
    assert refused.status_code == 400
    assert said in refused.json()["message"]


@pytest.mark.parametrize(
    ("query", "said"),
    [("dry_run=1", "'dry_run' is neither true nor false"), ("tolerance=7", "no option 'tolerance'")],
)
def test_what_is_wrong_in_the_query_is_named_too(client: Client, query: str, said: str) -> None:
    refused = client.post(f"{PATH}?{query}", content=b"request_id,label\nr,1\n", headers={"content-type": "text/csv"})
    assert refused.status_code == 400
    assert said in refused.json()["message"]


def test_a_label_beyond_64_bits_is_a_number(client: Client) -> None:
    content = b'{"labels": [{"request_id": "r", "row": 0, "label": %s}], "dry_run": true}' % (b"7" * 30)
    assert client.post(PATH, content=content).status_code == 200


def test_a_body_that_is_too_long_or_no_json_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not JSON" in client.post(PATH, content=b"{").json()["message"]
    monkeypatch.setattr("millrace.api.label_routes._MOST_BYTES", 10)
    assert "over 10 bytes" in client.post(PATH, content=b"x" * 11).json()["message"]
    headers = {"content-type": "text/csv; charset=utf-8"}
    assert "over 10 bytes" in client.post(PATH, content=b"x" * 11, headers=headers).json()["message"]


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_VALUES = _SCALARS | st.lists(_SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), _SCALARS, max_size=2)
_NAMES = st.sampled_from(["request_id", "row", "label", "label_time", "customer_id", "shop", "more"])
_RECORDS = st.lists(
    st.dictionaries(_NAMES, _VALUES | st.sampled_from(["r", 0, 7, "2025-03-09"]), max_size=5), max_size=4
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=_RECORDS | _VALUES,
    options=st.fixed_dictionaries(
        {"dry_run": st.just(value=True)},
        optional={
            "keys": st.lists(_NAMES, max_size=2) | _VALUES,
            "label": _NAMES | _VALUES,
            "time": _NAMES | _VALUES,
            "tolerance_days": _VALUES,
        },
    ),
)
def test_no_labels_are_too_odd_to_be_told_what_is_wrong(
    client: Client, labels: object, options: dict[str, object]
) -> None:
    answer = client.post(PATH, content=json.dumps({"labels": labels, **options}))
    assert answer.status_code in (200, 400, 404), answer.text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=40)
    | st.lists(st.sampled_from(["request_id", "label", "r", "1", ",", "\n", '"', "x", "\r\n"]), max_size=14).map(
        lambda parts: "".join(parts).encode()
    )
)
def test_no_csv_is_either(client: Client, content: bytes) -> None:
    answer = client.post(PATH + "?dry_run=true", content=content, headers={"content-type": "text/csv"})
    assert answer.status_code in (200, 400, 404), answer.text
