from __future__ import annotations

import asyncio
import json
import logging

import pytest
from starlette.types import Message

from millrace.api.mlflow_mount import _without_internals


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error_code": "INTERNAL_ERROR", "message": "INSERT ... (s3cret)"}', "INTERNAL_ERROR"),
        (b'{"error_code": "s3cret", "message": ""}', "no kind"),
        (b'{"error_code": ["s3cret"]}', "no kind"),
        (b"<html>s3cret", "no kind"),
    ],
)
def test_what_mlflow_says_when_it_fails_is_neither_told_nor_logged(
    caplog: pytest.LogCaptureFixture, body: bytes, kind: str
) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def fail() -> None:
        answer = _without_internals(send, "/api/2.0/mlflow/runs/create")
        await answer({"type": "http.response.start", "status": 500, "headers": []})
        await answer({"type": "http.response.body", "body": body[:20], "more_body": True})
        await answer({"type": "http.response.body", "body": body[20:]})

    with caplog.at_level(logging.INFO):
        asyncio.run(fail())
    assert caplog.messages == [f"MLflow answered /api/2.0/mlflow/runs/create with 500: {kind}"]
    assert (sent[0]["status"], json.loads(sent[1]["body"])["error_code"]) == (500, "INTERNAL_ERROR")
    assert b"s3cret" not in sent[1]["body"]
