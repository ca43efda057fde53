from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from millrace.access.types import CALLER, Caller, Rights
from millrace.api import logs
from millrace.core.errors import InvalidState
from millrace.serving.request_log import CURRENT


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process with this logging writes; what was set up before comes back."""
    root, stream = logging.getLogger(), io.StringIO()
    before, hook = (root.handlers[:], root.level), sys.excepthook
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("MLFLOW_CONFIGURE_LOGGING", "true")  # put back at the end
    logs.configure("worker-3")
    yield stream
    logging.captureWarnings(capture=False)
    logging.getLogger("millrace.access").setLevel(logging.NOTSET)
    root.handlers[:], sys.excepthook = before[0], hook
    root.setLevel(before[1])


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_time_and_process(log: io.StringIO) -> None:
    logging.getLogger("millrace.some").warning("two\nlines of %s", "ä")
    logging.getLogger("millrace.some").info("not worth a line")
    (line,) = lines(log)
    at = datetime.fromisoformat(line.pop("time"))
    assert timedelta(0) <= datetime.now(UTC) - at < timedelta(minutes=1)
    assert line == {
        "level": "WARNING",
        "process": "worker-3",
        "logger": "millrace.some",
        "message": "two\nlines of ä",
    }


@pytest.mark.usefixtures("log")
def test_what_a_terminal_shows_is_kept_in_a_file_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.keep_beside("supervisor", tmp_path / "supervisor.log")
    logging.getLogger("millrace.some").warning("worker-0 ended")
    for handler in logging.getLogger().handlers:
        handler.close()
    assert capsys.readouterr().err == "worker-0 ended\n"
    line = json.loads((tmp_path / "supervisor.log").read_text())
    assert (line["process"], line["message"]) == ("supervisor", "worker-0 ended")


def refuse() -> None:
    raise InvalidState("table t is not online", hint="publish it")


def fail(text: str) -> None:
    try:
        float(text)
    except ValueError as error:
        raise RuntimeError(f"could not read {text}") from error


@pytest.mark.parametrize("request_", [("r-1", "churn"), None])
def test_an_error_of_others_is_told_without_its_text(log: io.StringIO, request_: tuple[str, str] | None) -> None:
    CURRENT.set(request_)
    try:
        fail("s3cret")
    except RuntimeError:
        logging.getLogger("millrace.serving").exception("it failed")
    finally:
        CURRENT.set(None)
    (line,) = lines(log)
    assert line["error"] == "RuntimeError"
    assert (line.get("request_id"), line.get("endpoint")) == (request_ or (None, None))
    assert "s3cret" not in log.getvalue()
    assert [frame.rpartition(" ")[2] for frame in line["trace"] if frame.endswith(" fail")] == ["fail", "fail"]
    assert "then, after this ValueError:" in line["trace"]
    assert line["trace"][-1].startswith(__file__)


def test_an_error_of_the_system_is_told_in_the_systems_words(log: io.StringIO) -> None:
    for error in (OSError(errno.ENOSPC, "s3cret"), FileNotFoundError(errno.ENOENT, "?", "s3cret"), OSError("s3cret")):
        logging.getLogger("x").error("it failed", exc_info=error)
    assert [line["error"] for line in lines(log)] == [
        "OSError: No space left on device",
        "FileNotFoundError: No such file or directory",
        "OSError",
    ]
    assert "s3cret" not in log.getvalue()


def test_our_own_errors_are_told_whole(log: io.StringIO) -> None:
    try:
        refuse()
    except InvalidState:
        logging.getLogger("x").exception("outside")
    CURRENT.set(("r-1", "churn"))
    try:
        refuse()
    except InvalidState:
        logging.getLogger("x").exception("inside")
    finally:
        CURRENT.set(None)
    outside, inside = lines(log)
    assert "request_id" not in outside
    assert inside["request_id"] == "r-1"
    assert outside["error"] == inside["error"] == "InvalidState: table t is not online\n  hint: publish it"


def test_warnings_and_the_death_of_the_process_are_lines_too(log: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old", DeprecationWarning, "file.py", 1)
    sys.excepthook(ValueError, ValueError("bad start"), None)
    warned, died = lines(log)
    assert (warned["level"], warned["logger"]) == ("WARNING", "py.warnings")
    assert (died["level"], died["message"], died["error"]) == (
        "CRITICAL",
        "the process ends: bad start",
        "ValueError",
    )


async def _app(scope: Scope, _receive: Receive, send: Send) -> None:
    scope[CALLER] = Caller("token:ci", Rights())
    if scope["path"] == "/breaks":
        raise OSError("broken")
    headers = [(b"databricks-request-id", b"r-9"), (b"set-cookie", b"s3cret")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"s3cret"})


async def _receive() -> Message:
    return {"type": "http.request", "body": b"s3cret"}


async def _send(_message: Message) -> None:
    return


def _ask(path: str) -> None:
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"token=s3cret", "headers": [],
             "client": ("127.0.0.1", 4711)}  # fmt: skip
    asyncio.run(logs.AccessLog(_app)(scope, _receive, _send))


def test_an_access_line_says_who_asked_what_and_nothing_that_was_sent(log: io.StringIO) -> None:
    _ask("/serving-endpoints/churn/invocations")
    (line,) = lines(log)
    assert line.pop("duration_ms") >= 0
    del line["time"]
    assert line == {
        "level": "INFO",
        "process": "worker-3",
        "logger": "millrace.access",
        "message": "POST /serving-endpoints/churn/invocations",
        "status": 201,
        "request_id": "r-9",
        "method": "POST",
        "path": "/serving-endpoints/churn/invocations",
        "caller": "token:ci",
        "client": "127.0.0.1",
    }
    assert "s3cret" not in log.getvalue()


def test_a_request_that_breaks_has_its_line_without_a_status(log: io.StringIO) -> None:
    with pytest.raises(OSError, match="broken"):
        _ask("/breaks")
    (line,) = lines(log)
    assert "status" not in line
    assert line["path"] == "/breaks"
