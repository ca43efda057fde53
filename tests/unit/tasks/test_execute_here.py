from __future__ import annotations

from contextlib import closing
from pathlib import Path

from millrace.targets.local_server import only_server
from millrace.tasks.execute_here import is_executed
from millrace.workspace import open_workspace


def test_a_server_executes_also_where_it_does_not_answer(tmp_path: Path) -> None:
    with closing(open_workspace(tmp_path)) as workspace:
        assert not is_executed(workspace.jobs, tmp_path)
        with only_server(tmp_path):
            assert is_executed(workspace.jobs, tmp_path)
