from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from millrace.api import supervisor
from millrace.api.children import Child
from millrace.api.doors import Door, knock
from millrace.api.options import ChildOptions
from millrace.api.supervisor import serve
from millrace.core.errors import InvalidInput
from millrace.core.log_files import open_log

# The first has closed its door and is about to end; who is started then takes who waits there, and says so.
_LEAVING = """
import json, pathlib, socket, sys, time
options = json.loads(sys.argv[1])
started = pathlib.Path(options["home"]) / "started"
if not started.exists():
    started.touch()
    time.sleep(0.5)
    sys.exit(0)
door = socket.socket(fileno=options["listen_fd"])
door.setblocking(True)
door.accept()
(started.parent / "drained").touch()
"""


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(InvalidInput, match=f"{port} is not a port") as refused:
        serve(tmp_path / "home", port=port, announce=lambda _: None)
    assert "0 for a free port" in refused.value.hint


@pytest.mark.parametrize("somebody_waits", [True, False])
def test_who_knocks_at_the_end_while_the_drain_leaves_has_another_one_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, somebody_waits: bool
) -> None:
    (tmp_path / "leavingcode.py").write_text(_LEAVING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(supervisor, "_LAST_S", 60.0)
    reading, writing = os.pipe()
    with closing(Door(tmp_path / "door.sock")) as door, os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as holding:
        options = ChildOptions(str(tmp_path), "/sockets", "instance", "http://127.0.0.1:1", listen_fd=door.fileno())
        drain = Child("drain", "leavingcode", options, open_log(tmp_path, "drain"), door)
        drain.start()
        _wait_for(tmp_path / "started")
        if somebody_waits:
            knock(tmp_path / "door.sock")
        supervisor._end([], {"drain": drain}, holding)
        assert (drain.exit_code, (tmp_path / "drained").exists()) == (0, somebody_waits)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
