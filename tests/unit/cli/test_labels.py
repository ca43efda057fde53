from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.api import draining
from millrace.api.runtime import drain_channel, socket_folder
from millrace.core.principal import Principal
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.endpoints import endpoints
from millrace.serving.types import Capture, Description, ServedEntity
from millrace.targets.local_server import only_server
from millrace.testing.traffic import kept
from millrace.workspace import Workspace, open_workspace
from tests.unit.cli.conftest import Cli

INPUTS = (("spend", "double"),)
DESCRIPTION = Description("d", "ml.logs.p", "churn", 1, "churn-3", "ml.models.churn", "3", (("id", "int64"),), INPUTS)


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    """A home with an endpoint and two answered requests, captured and not drained; no server runs."""
    opened = open_workspace(home)
    opened.clock.set(datetime(2025, 3, 10, tzinfo=UTC))
    config = endpoints.endpoint_config(
        ServedEntity("churn-3", "ml.models.churn", "3"), capture=Capture("ml", "logs", "p")
    )
    made = endpoints.create(opened.endpoints, opened.clock, Principal("user", "ada"), "churn", config)
    endpoints.activate(opened.endpoints, opened.clock, endpoints.candidate(made, ()), {})
    log = CaptureLog(opened.capture_root, "w0", opened.clock)
    for request in ("r", "s"):
        assert log.write(kept(DESCRIPTION, request, [([7], [1.5], 1, 0.75, [])]), DESCRIPTION)
    log.close()
    yield opened
    opened.close()


def test_captured_predictions_are_drained_before_their_labels_are_looked_for(
    cli: Cli, workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text('{"request_id": "r", "label": 1}\n{"request_id": "gone", "label": 0}\n')
    # A dry run writes nothing, so there is no table yet.
    assert "there are no predictions in ml.logs.p_predictions yet" in cli(
        "labels", "import", "churn", file, "--dry-run"
    ).refused().replace("main.", "")
    assert cli("labels", "import", "churn", file, "--json").json() == {
        "endpoint": "churn",
        "table": "ml.logs.p_predictions",
        "dry_run": False,
        "rows": 2,
        "labels": 2,
        "joined": 1,
        "already": 0,
        "conflicting": 0,
        "unmatched": 1,
    }
    rows = workspace.lake.read("ml.logs.p_predictions").to_pylist()
    assert {row["request_id"]: row["actual_label"] for row in rows} == {"r": 1.0, "s": None}
    said = cli("labels", "import", "churn", file, "--dry-run").out.splitlines()
    assert [line.split()[-1] for line in said[:-1]] == ["2", "2", "0", "1", "0", "1"]
    assert said[-1] == "nothing was written"


def test_what_can_not_be_imported_is_told(cli: Cli, workspace: Workspace, tmp_path: Path) -> None:
    del workspace
    file = tmp_path / "labels.csv"
    file.write_text("request_id,label\nr,1\ns,maybe\n")
    assert "endpoint chrun does not exist" in cli("labels", "import", "chrun", file).refused()
    assert "there is no file" in cli("labels", "import", "churn", tmp_path / "none.csv").refused()
    assert (
        "label 'label' is string; the first that is no number is row 2"
        in cli("labels", "import", "churn", file).refused()
    )
    assert "a tolerance of -1" in cli("labels", "import", "churn", file, "--tolerance-days", -1).refused(2)
    file.write_text("request_id,label\nr,1\ns\n")
    assert "line 3: 1 fields, expected 2" in cli("labels", "import", "churn", file).refused()


def test_where_a_server_runs_that_drains_and_says_whether_all_is_there(
    cli: Cli, workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("request_id,label\nr,1\n")
    heard = list[bytes]()
    with only_server(workspace.home), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drain_channel(socket_folder(workspace.home))))
        listener.listen()

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as reader:
                heard.append(reader.readline())
                connection.sendall(b'{"error": "not all was drained: worker-0", "hint": "drain again"}\n')

        refusing = threading.Thread(target=refuse)
        refusing.start()
        assert "not all was drained: worker-0" in cli("labels", "import", "churn", file).refused()
        refusing.join()
    assert heard == [b'{"do": "drain"}\n']
    assert not workspace.lake.exists("ml.logs.p_predictions")


def test_a_server_that_stops_meanwhile_is_not_needed(
    cli: Cli, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "_REPLACED_S", 1.0)  # nobody drains there any more
    file = tmp_path / "labels.csv"
    file.write_text("request_id,label\nr,1\n")
    with ExitStack() as server:
        server.enter_context(only_server(workspace.home))
        assert "drain does not answer" in cli("labels", "import", "churn", file).refused()
        assert not workspace.lake.exists("ml.logs.p_predictions")
        stopping = threading.Timer(0.3, server.close)
        stopping.start()
        assert cli("labels", "import", "churn", file).code == 0
        stopping.join()
    assert workspace.lake.exists("ml.logs.p_predictions")
