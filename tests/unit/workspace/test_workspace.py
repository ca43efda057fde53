from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidState, NotFound
from millrace.core.principal import Principal
from millrace.lake.adapters.sail import SailEngine
from millrace.lake.adapters.spark_connect import SparkConnectEngine
from millrace.workspace import Workspace, open_workspace, require_home

PARTS = ("lake", "asof", "online", "tracking", "registry", "promotions", "runs", "leases", "endpoints", "episodes", "alerts", "spark")  # fmt: skip


def test_opening_makes_the_home_and_requiring_does_not(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    with pytest.raises(NotFound, match="there is no millrace home") as refused:
        require_home(home)
    assert "millrace init" in refused.value.hint
    assert not home.exists()
    open_workspace(home).close()
    assert (home / "millrace.db").is_file()
    assert require_home(home).home == home


def test_a_home_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidState, match="can't be made"):
        open_workspace(tmp_path / "file" / "home")


def test_the_home_is_the_one_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "one"))
    workspace = open_workspace()
    assert workspace.home == tmp_path / "one"
    assert workspace.capture_root == tmp_path / "one" / "capture"
    assert open_workspace(tmp_path / "two").home == tmp_path / "two"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_made_once(tmp_path: Path, part: str) -> None:
    workspace = open_workspace(tmp_path / "home")
    assert getattr(workspace, part) is getattr(workspace, part)
    workspace.close()
    workspace.close()


def test_the_engine_is_the_one_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_workspace(tmp_path / "one").spark, SailEngine)
    monkeypatch.setenv("MILLRACE_SPARK_REMOTE", "sc://spark.example:15002")
    assert isinstance(open_workspace(tmp_path / "two").spark, SparkConnectEngine)


def test_parts_share_the_clock_the_principal_and_the_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WAREHOUSE", str(tmp_path / "warehouse"))
    now = datetime(2025, 3, 1, tzinfo=UTC)
    workspace: Workspace = open_workspace(tmp_path / "home", principal=Principal("user", "ada"))
    workspace.clock.set(now)
    entry = workspace.lake.create("bronze.t", pa.schema({"id": pa.int64()}))
    assert (entry.owner, entry.created_at) == ("user:ada", now)
    assert entry.location.startswith(str(tmp_path / "warehouse"))
    other = open_workspace(tmp_path / "home")
    assert other.clock.now() == now
    assert other.lake.entry("bronze.t") == entry


def test_opening_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom millrace.workspace import open_workspace\n"
        f"open_workspace({str(tmp_path / 'home')!r}).runs.runs()\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"pandas", "pyarrow", "pyspark", "pysail", "mlflow", "duckdb", "deltalake", "xgboost", "sklearn", "apprise"}
    assert set(done.stdout.split()) & heavy == set()
