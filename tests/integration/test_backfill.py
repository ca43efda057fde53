"""`millrace features backfill`, killed with SIGKILL and by Ctrl-C: the table is whole, and the next one goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.cli.main import main
from millrace.pipeline.snapshot_state import SnapshotState, load_state
from millrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
START = datetime(2025, 1, 6, tzinfo=UTC)
TICKS = 30
SPEND = "ml.features.spend"
_PATIENCE_S = 240
# `millrace` that is stopped when it has written down a snapshot that it made, whatever else the machine does.
_STOPPED = """
import os, sys
from millrace.cli.main import main
from millrace.pipeline import rebuild, snapshot_state
from millrace.pipeline.stages import refresh

def save_state(services, table, state):
    snapshot_state.save_state(services, table, state)
    made_to = state.rebuild.done_to if state.rebuild else state.last
    if made_to and stops:
        os.kill(os.getpid(), stops.pop())

stops = [int(sys.argv.pop(1))]
rebuild.save_state = refresh.save_state = save_state
sys.exit(main())
"""
_PAGE = """
from datetime import UTC, datetime, timedelta

import millrace as mr

DAY = timedelta(days=1)
tx = mr.Source("bronze.tx", event_time="at")
spend = mr.Windows(tx, keys=["k"], n=mr.Count(days={days}), total=mr.Sum("amount", days={days}))
table = mr.window_table("ml.features.spend", spend, every=DAY, start=datetime(2025, 1, 6, tzinfo=UTC))
pipeline = mr.Pipeline(
    name="shop", features=[table], label=mr.Label("ml.labels.none", column="y", keys=("k",), time="t"),
    candidates=[mr.Linear()], gates=[],
)
"""


@dataclass
class Home:
    """A home with events, and a page whose table is computed over them."""

    path: Path
    page: Path
    workspace: Workspace

    def command(self, *arguments: str) -> list[str]:
        start = [sys.executable, "-m", "millrace.cli.main", "features", "backfill", str(self.page), SPEND]
        return [*start, "--home", str(self.path), *arguments]

    def state(self) -> SnapshotState | None:
        return load_state(self.workspace, SPEND)

    def stored(self) -> list[dict[str, Any]]:
        order = [("feature_time", "ascending"), ("k", "ascending")]
        rows: list[dict[str, Any]] = self.workspace.lake.read(SPEND).sort_by(order).to_pylist()
        return rows

    def stopped(self, how: signal.Signals) -> tuple[int, str]:
        """Exit code and standard error of a backfill by single snapshots that is stopped when it has made one."""
        command = [sys.executable, "-c", _STOPPED, str(int(how)), *self.command("--chunk", "1")[3:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        return done.returncode, done.stderr


EVENTS = [(k, START + timedelta(hours=7 * n + k) - 5 * DAY, float(n % 9)) for k in (1, 2, 3) for n in range(220)]


def expected(days: int) -> list[dict[str, Any]]:
    found = []
    for tick in (START + n * DAY for n in range(TICKS)):
        for key in (1, 2, 3):
            amounts = [amount for k, at, amount in EVENTS if k == key and tick - days * DAY < at <= tick]
            if amounts:
                found.append({"k": key, "feature_time": tick, "n": len(amounts), "total": sum(amounts)})
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    workspace = open_workspace(tmp_path / "home")
    workspace.clock.set(START + (TICKS - 1) * DAY)
    rows = [{"k": k, "at": at, "amount": amount} for k, at, amount in EVENTS]
    schema = pa.schema([("k", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("amount", pa.float64())])
    workspace.lake.create("bronze.tx", schema)
    workspace.lake.append("bronze.tx", pa.Table.from_pylist(rows, schema))
    page = tmp_path / "pipeline.py"
    page.write_text(_PAGE.format(days=10))
    yield Home(tmp_path / "home", page, workspace)
    workspace.close()


def test_a_backfill_that_is_killed_goes_on_where_it_was(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = home.stopped(signal.SIGKILL)
    assert code == -signal.SIGKILL
    state = home.state()
    assert state is not None
    assert state.last is not None
    assert state.last < START + (TICKS - 1) * DAY
    assert main(home.command("--json")[3:]) == 0
    (report,) = json.loads(capsys.readouterr().out)["tables"]
    assert report["snapshots"] == TICKS - 1 - (state.last - START) // DAY
    assert home.stored() == expected(10)

    # Other code: the old table stays whole until the new one is.
    home.page.write_text(_PAGE.format(days=3))
    code, _ = home.stopped(signal.SIGKILL)
    assert (code, home.stored()) == (-signal.SIGKILL, expected(10))
    # So it is after Ctrl-C, which also says how to go on.
    begun = _done_to(home)
    code, said = home.stopped(signal.SIGINT)
    assert code == 130
    assert begun < _done_to(home) < START + (TICKS - 1) * DAY
    assert "the same command goes on after them" in said
    assert home.stored() == expected(10)
    done = (_done_to(home) - START) // DAY + 1
    version = home.workspace.lake.pin(SPEND).version
    assert main(home.command("--json")[3:]) == 0
    (report,) = json.loads(capsys.readouterr().out)["tables"]
    assert report["snapshots"] == TICKS - done
    assert "all anew because its code changed (gone on with where it stopped)" in report["detail"]
    assert home.stored() == expected(3)
    assert home.workspace.lake.pin(SPEND).version == version + 1


def _done_to(home: Home) -> datetime:
    state = home.state()
    assert state is not None
    assert state.rebuild is not None
    assert state.rebuild.done_to is not None
    return state.rebuild.done_to


def test_the_commands_say_what_they_did_and_refuse_what_makes_no_sense(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> tuple[int, str]:
        code = main(["features", *arguments, "--home", str(home.path)])
        captured = capsys.readouterr()
        return code, captured.out if code == 0 else captured.err

    page = str(home.page)
    code, text = told("refresh", page)
    assert (code, text.splitlines()[0]) == (0, f"{SPEND}: {TICKS} snapshots, {len(expected(10))} rows")
    assert told("refresh", page, SPEND) == (0, f"{SPEND}: 0 snapshots, 0 rows\n")
    code, text = told("backfill", page, SPEND, "--from", "2025-01-08", "--to", "2025-01-10")
    assert "3 snapshots, 9 rows, those of 2025-01-08 to 2025-01-10 anew because it was asked for" in text
    code, text = told("backfill", page, SPEND, "--rebuild", "--chunk", "7")
    assert f"{TICKS} snapshots" in text
    assert home.stored() == expected(10)
    for arguments, message, expected_code in [
        (("refresh", page, "ml.features.spent"), "computes no table 'ml.features.spent'", 1),
        (("backfill", page, SPEND, "--from", "soon"), "--from: 'soon' is not a time", 2),
        (("backfill", page, SPEND, "--from", "2025-02-01", "--to", "2025-01-01"), "the first time is after", 1),
        (("backfill", page, SPEND, "--chunk", "0"), "a chunk of 0", 1),
    ]:
        code, text = told(*arguments)
        assert (code, message in text) == (expected_code, True), text


def test_two_processes_never_compute_at_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert home.workspace.leases.acquire("pipeline/shop", "elsewhere:1:x", 600)
    assert main(home.command()[3:]) == 1
    assert "is being run by another process" in capsys.readouterr().err
    home.workspace.leases.release("pipeline/shop", "elsewhere:1:x")
