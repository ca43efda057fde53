"""One request step by step: what it becomes, and what each thing that goes wrong becomes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.features.port import StoreAway
from millrace.serving.bodies.body import Dialect, Envelope, NotNow, TooLarge
from millrace.serving.bodies.dialects import ARROW_FILE, ARROW_STREAM, CSV, JSON, PARQUET, V2
from millrace.serving.models.turns import Busy, TooSlow, Unavailable
from millrace.serving.port import Reply
from millrace.serving.requests.answer import answer
from millrace.serving.requests.exchange import Exchange, Question
from millrace.serving.requests.generations import ServedEndpoint
from millrace.serving.types import Prediction
from tests.unit.serving.lanes import NOW, Adding, Scene, body_of

PLAIN = Envelope(most_bytes=1000)


@pytest.fixture
def endpoint(scene: Scene) -> ServedEndpoint:
    return scene.serve("churn", Adding(1), Adding(100))


def exchange(
    endpoint: ServedEndpoint, raw: bytes, *, entity: str | None = None, envelope: Envelope = PLAIN, v2: bool = False
) -> Exchange:
    return Exchange(endpoint, entity, Question(raw, V2 if v2 else JSON, envelope, "theirs"), NOW)


def taken(made: Exchange) -> Reply:
    """The reply after all its steps; the prediction is made up."""
    made.read()
    made.open()
    assert made.inputs is not None
    return made.reply(Prediction([7.0] * len(made.inputs), None), 0.25)


def test_its_steps_lead_to_the_reply(endpoint: ServedEndpoint) -> None:
    made = exchange(endpoint, body_of(1.0, 2.0))
    assert (made.is_read, made.is_open, made.rows, made.inputs, made.model) == (False, False, 0, None, None)
    made.read()
    assert (made.is_read, made.is_open, made.rows) == (True, False, 2)
    made.open()
    assert made.is_open
    assert made.inputs is not None
    assert made.inputs.numbers.tolist() == [[1.0], [2.0]]
    assert made.model is cast("Any", endpoint.first).model
    reply = made.reply(Prediction([7.0, 8.0], None), 0.25)
    assert (reply.status, json.loads(reply.body)) == (200, {"predictions": [7.0, 8.0]})
    assert (reply.served, reply.reached, reply.client_request_id) == (endpoint.first, True, "theirs")
    assert reply.answered is not None
    assert (len(reply.answered), reply.answered.predict_s) == (2, 0.25)


def test_a_named_entity_answers_whatever_the_traffic_says(endpoint: ServedEndpoint) -> None:
    reply = taken(exchange(endpoint, body_of(1.0), entity="churn-2"))
    assert (reply.served.plan.entity.name, reply.key) == ("churn-2", None)


def test_a_body_may_carry_the_callers_id_which_wins(endpoint: ServedEndpoint) -> None:
    raw = b'{"dataframe_records": [{"x": 1.0}], "client_request_id": "mine"}'
    assert taken(exchange(endpoint, raw)).client_request_id == "mine"


def test_a_caller_stays_with_one_entity_where_traffic_is_divided(scene: Scene) -> None:
    divided = scene.serve("churn", Adding(1), Adding(100), traffic={"churn-1": 50, "churn-2": 50})
    asked = [Envelope(most_bytes=1000, client_request_id=f"c{number}") for number in range(40)]
    replies = [[taken(exchange(divided, body_of(1.0), envelope=each)) for each in asked] for _ in range(2)]
    names = [[reply.served.plan.entity.name for reply in turn] for turn in replies]
    assert names[0] == names[1] == [divided.router.choose(f"c{number}".encode()) for number in range(40)]
    assert set(names[0]) == {"churn-1", "churn-2"}
    assert [reply.key for reply in replies[0]] == [f"c{number}".encode() for number in range(40)]


def _arrow(names: Sequence[str], writer: Callable[..., Any]) -> bytes:
    table, sink = pa.table({name: [1.0] for name in names}), io.BytesIO()
    with writer(sink, table.schema) as file:
        file.write_table(table)
    return sink.getvalue()


def _tensors(names: Sequence[str]) -> bytes:
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in names]
    return json.dumps({"inputs": inputs}).encode()


WRITTEN: dict[str, tuple[Dialect, Callable[[Sequence[str]], bytes]]] = {
    "records": (JSON, lambda names: json.dumps({"dataframe_records": [dict.fromkeys(names, 1.0)]}).encode()),
    "split": (
        JSON,
        lambda names: json.dumps({"dataframe_split": {"columns": names, "data": [[1] * len(names)]}}).encode(),
    ),
    "instances": (JSON, lambda names: json.dumps({"instances": [dict.fromkeys(names, 1.0)]}).encode()),
    "inputs": (JSON, lambda names: json.dumps({"inputs": {name: [1.0] for name in names}}).encode()),
    "csv": (CSV, lambda names: f"{','.join(names)}\n{','.join('1' for _ in names)}\n".encode()),
    "parquet": (PARQUET, lambda names: _arrow(names, pq.ParquetWriter)),
    "arrow stream": (ARROW_STREAM, lambda names: _arrow(names, pa.ipc.new_stream)),
    "arrow file": (ARROW_FILE, lambda names: _arrow(names, pa.ipc.new_file)),
    "tensors": (V2, _tensors),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_columns_that_nobody_reads_are_refused_where_the_endpoint_says_so(scene: Scene, form: str) -> None:
    dialect, write = WRITTEN[form]
    strict, free = scene.serve("strict", Adding(1), extra_columns="refuse"), scene.serve("free", Adding(1))

    def ask(endpoint: ServedEndpoint, *names: str) -> Reply:
        made = Exchange(endpoint, None, Question(write(names), dialect, Envelope(most_bytes=100_000)), NOW)
        try:
            return taken(made)
        except InvalidInput as error:
            return made.failed(error)

    assert ask(strict, "x").status == 200
    assert [ask(free, "x", "y").status, ask(free, "y", "x").status] == [200, 200]
    refused = ask(strict, "x", "y")
    assert (refused.status, refused.reached) == (400, True)
    assert "column 'y' is not known here; send x" in refused.body.decode()
    long = ask(strict, "x", "y" * 200).body.decode()
    assert "y" * 100 + "..." in long
    assert "y" * 101 not in long


def test_what_another_version_of_a_strict_endpoint_reads_is_known(scene: Scene) -> None:
    """Who asks does not know which of them answers."""
    strict = scene.serve("strict", Adding(1), Adding(2), extra_columns="refuse")
    strict.known |= {"y"}
    both = json.dumps({"dataframe_records": [{"x": 1.0, "y": 2.0}]}).encode()
    assert taken(exchange(strict, both)).status == 200


def test_rows_without_names_have_no_columns_that_nobody_reads(scene: Scene) -> None:
    strict = scene.serve("strict", Adding(1), extra_columns="refuse")
    assert taken(exchange(strict, b'{"inputs": [[1.0]]}')).status == 200


@pytest.mark.parametrize(
    ("error", "status", "code", "said"),
    [
        (InvalidInput("column 'x' is missing", hint="send x"), 400, "BAD_REQUEST", "column 'x' is missing; send x"),
        (NotFound("row 1 has no features"), 404, "RESOURCE_DOES_NOT_EXIST", "row 1 has no features"),
        (InvalidState("a table is gone"), 500, "INVALID_STATE", "a table is gone"),
        (TooLarge(), 413, "MAX_REQUEST_SIZE_EXCEEDED", "the request is over 1000 bytes; send fewer rows at a time"),
        (Busy(), 429, "RESOURCE_EXHAUSTED", "too many requests wait for 'churn-1'"),
        (Unavailable("it sleeps"), 503, "TEMPORARILY_UNAVAILABLE", "'churn-1' can't answer now: it sleeps"),
        (NotNow("it stands still"), 503, "TEMPORARILY_UNAVAILABLE", "'churn-1' can't answer now: it stands still"),
        (
            StoreAway("the online store on Redis at 10.0.0.7:6379 does not answer: TimeoutError"),
            503,
            "TEMPORARILY_UNAVAILABLE",
            "'churn-1' can't answer now: the online store does not answer",
        ),
        (TooSlow(), 504, "DEADLINE_EXCEEDED", "'churn-1' did not answer in time"),
        (
            RuntimeError("a secret"),
            500,
            "INTERNAL_ERROR",
            "served entity 'churn-1' could not answer; the server's log says why",
        ),
    ],
)
def test_what_goes_wrong_is_told_without_what_was_sent(
    endpoint: ServedEndpoint, error: Exception, status: int, code: str, said: str
) -> None:
    reply = exchange(endpoint, b"{}").failed(error)
    assert (reply.status, json.loads(reply.body)) == (status, {"error_code": code, "message": said})
    assert (reply.served, reply.reached, reply.answered, reply.client_request_id) == (
        endpoint.first,
        False,
        None,
        "theirs",
    )
    told = exchange(endpoint, b"{}", v2=True).failed(error)
    assert (told.status, json.loads(told.body)) == (status, {"error": said})


def test_what_nobody_foresaw_is_logged_with_what_it_was(
    endpoint: ServedEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    exchange(endpoint, b"{}").failed(RuntimeError("a foreign model"))
    exchange(endpoint, b"{}").failed(InvalidState("a table is gone"))
    exchange(endpoint, b"{}").failed(InvalidInput("a caller's mistake"))
    exchange(endpoint, b"{}").failed(Busy())
    assert [record.getMessage() for record in caplog.records] == [
        "endpoint churn: entity churn-1 failed",
        "entity churn-1 can't answer: a table is gone",
    ]


def test_who_was_chosen_before_it_failed_is_said(endpoint: ServedEndpoint) -> None:
    made = exchange(endpoint, body_of(1.0), entity="churn-2")
    made.read()
    assert not made.failed(InvalidInput("x")).reached
    made.open()
    reply = made.failed(Busy())
    assert (reply.reached, reply.served.plan.entity.name) == (True, "churn-2")


def test_answering_never_raises(endpoint: ServedEndpoint) -> None:
    for raw, status in (
        (body_of(1.0), 200),
        (body_of(-1.0), 500),
        (b"no json", 400),
        (b'{"dataframe_records": 1}', 400),
    ):
        assert asyncio.run(answer(exchange(endpoint, raw))).status == status


def test_steps_that_were_taken_are_not_taken_again(endpoint: ServedEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    made = exchange(endpoint, body_of(1.0))
    made.read()
    made.open()
    for step in ("read", "open"):
        monkeypatch.setattr(Exchange, step, lambda _: pytest.fail("a step was taken twice"))
    assert json.loads(asyncio.run(answer(made)).body) == {"predictions": [2.0]}
