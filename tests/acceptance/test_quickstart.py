"""The quickstart as a user runs it: by the command, in a fresh home, with another seed, and with nothing changing.

`make test-all` tells two stories side by side, and alone, with its time, the one that everybody sees first.
"""

from __future__ import annotations

import bisect
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from millrace.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

Report = dict[str, Any]
_FEATURES = "ml.features.customer_churn_features"
_PREDICTIONS = "ml.inference_logs.customer_churn_predictions"
_TIMEOUT_S = 800
# Another shop, whose change shows on another day than the default's, which docs/quickstart.md tells.
_OTHER_SEED = "3"
_DEFAULT_DETECTED = "2025-03-02T00:00:00Z"
_LIMIT_S = 120
# What `millrace --help` took on the machine of docs/benchmarks.md, where the two minutes were set.
_HELP_THEN_S = 0.15
# Of a machine that is slower still than so many times that one, nothing is to be learnt.
_SLOWEST = 4.0


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Report, Path]]:
    """Two quickstarts side by side: with another seed, and without a change of behaviour."""
    options = {"other": ["--seed", _OTHER_SEED], "calm": ["--no-change"]}
    homes = {name: tmp_path_factory.mktemp(name) / "home" for name in options}
    started = {name: _start([*given, "--home", str(homes[name])]) for name, given in options.items()}
    found = {}
    for name, process in started.items():
        out, err = process.communicate(timeout=_TIMEOUT_S)
        assert process.returncode == 0, err[-3000:]
        found[name] = (json.loads(out.strip().splitlines()[-1]), homes[name])
    return found


@pytest.fixture(scope="module")
def report(stories: dict[str, tuple[Report, Path]]) -> Report:
    return stories["other"][0]


@pytest.fixture(scope="module")
def workspace(stories: dict[str, tuple[Report, Path]]) -> Iterator[Workspace]:
    opened = open_workspace(stories["other"][1])
    yield opened
    opened.close()


def test_every_stage_ends_well_and_is_named_once(report: Report) -> None:
    names = [stage["name"] for stage in report["stages"]]
    assert len(set(names)) == len(names)
    assert {stage["status"] for stage in report["stages"]} == {"done"}
    assert {
        "raw data",
        "training set",
        "staging",
        "production",
        "wait for labels",
        "retrain: production",
        "rollback",
    } <= set(names)


def test_drift_is_noticed_after_it_began_and_answered_once(report: Report, workspace: Workspace) -> None:
    assert report["drift"]["began"] == "2025-02-17T00:00:00Z"
    assert "2025-02-17" < report["drift"]["detected"] < "2025-04-01"
    assert (report["retrained"], report["retrained_version"]) == (True, "2")
    episodes = [episode for episode in workspace.episodes.list() if episode.subject == "customer-churn v1"]
    assert [episode.kind for episode in episodes].count("drift") == 1
    assert {episode.status for episode in episodes} == {"resolved"}


def test_the_retraining_waits_for_labels_and_says_so(report: Report, workspace: Workspace) -> None:
    (waited,) = [stage for stage in report["stages"] if stage["name"] == "wait for labels"]
    assert "labels of predictions made since" in waited["detail"]
    assert "at least 1,300 asked for" in waited["detail"]
    moves = [p for p in workspace.promotions.read() if p.alias == "production"]
    assert [p.version for p in moves] == ["1", "2", "1", "2"]
    assert moves[1].at.isoformat() > "2025-09", "labels take 90 days to be known, twice"


def test_the_challenger_beats_the_champion_on_rows_that_neither_was_trained_on(
    report: Report, workspace: Workspace
) -> None:
    first, second = report["models"]
    assert (first["alias"], second["alias"]) == ("previous", "production")
    assert second["metrics"]["log_loss"] < second["champion_metrics"]["log_loss"] - 0.01
    runs = {r.id: r for r in workspace.tracking.list("customer_churn")}
    assert {r.name for r in runs.values()} == {"xgboost", "linear", "dummy"}
    assert len(runs) == 6
    best = min((r for r in runs.values() if r.name != "dummy"), key=lambda r: r.metrics["log_loss"])
    assert best.name in {first["candidate"], second["candidate"]}


def test_online_features_equal_offline_features_for_every_scored_row(report: Report, workspace: Workspace) -> None:
    log = workspace.lake.read(_PREDICTIONS).to_pylist()
    snapshots = defaultdict(list)
    for row in workspace.lake.read(_FEATURES).to_pylist():
        snapshots[row["customer_id"]].append((row["feature_time"], row))
    for rows in snapshots.values():
        rows.sort(key=lambda pair: pair[0])
    names = [name for name in workspace.lake.schema(_FEATURES).names if name not in {"customer_id", "feature_time"}]
    differing = [row for row in log if not _same(row, snapshots[row["customer_id"]], names)]
    assert differing == []
    assert len(log) == report["scored"] > 5000
    assert report["online_offline_differences"] == 0


def test_logged_rows_say_where_each_feature_came_from(workspace: Workspace) -> None:
    row = workspace.lake.read(_PREDICTIONS).slice(0, 1).to_pylist()[0]
    (source,) = json.loads(row["features"])
    assert source["table"] == _FEATURES
    assert isinstance(source["version"], int)
    assert source["event_time"]
    assert 0 < row["probability"] < 1


def test_late_labels_are_what_the_customers_did(workspace: Workspace) -> None:
    bought = defaultdict(list)
    for row in workspace.lake.read("bronze.transactions", columns=["customer_id", "transaction_date"]).to_pylist():
        bought[row["customer_id"]].append(row["transaction_date"])
    for times in bought.values():
        times.sort()
    labelled = [row for row in workspace.lake.read(_PREDICTIONS).to_pylist() if row["actual_label"] is not None]
    assert len(labelled) > 3000
    for row in labelled:
        start, times = row["label_time"], bought[row["customer_id"]]
        after = times[bisect.bisect_right(times, start) :]
        came_back = bool(after) and (after[0] - start).total_seconds() <= 90 * 86_400
        assert row["actual_label"] == float(not came_back)


def test_another_seed_is_noticed_on_another_day(report: Report) -> None:
    assert report["drift"]["detected"] != _DEFAULT_DETECTED


def _pace() -> float:
    """How many times as long this machine takes as that one, by a command that is mostly imports: from 1 to `_SLOWEST`."""
    took = []
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run([Path(sys.executable).with_name("millrace"), "--help"], capture_output=True, check=True)
        took.append(time.monotonic() - begun)
    return min(_SLOWEST, max(1.0, min(took) / _HELP_THEN_S))


@pytest.mark.alone
def test_the_default_story_takes_less_than_two_minutes(tmp_path: Path) -> None:
    pace = _pace()
    begun = time.monotonic()
    out, err = _start(["--home", str(tmp_path / "home")]).communicate(timeout=_TIMEOUT_S)
    seconds = time.monotonic() - begun
    told = json.loads(out.strip().splitlines()[-1])
    assert told["drift"]["detected"] == _DEFAULT_DETECTED, err
    assert told["retrained_version"] == "2"
    assert told["online_offline_differences"] == 0
    assert seconds < _LIMIT_S * max(pace, _pace())


def test_without_a_change_nothing_is_noticed_and_nothing_is_retrained(stories: dict[str, tuple[Report, Path]]) -> None:
    calm = stories["calm"][0]
    assert calm["drift"] == {"began": None, "detected": None, "reason": ""}
    assert calm["retrained"] is False
    assert len(calm["models"]) == 1


def test_nothing_is_left_running(stories: dict[str, tuple[Report, Path]]) -> None:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    for _, home in stories.values():
        assert str(home) not in listing


def test_a_home_with_other_tables_is_refused_and_kept(stories: dict[str, tuple[Report, Path]]) -> None:
    import pyarrow as pa

    home = stories["calm"][1]
    workspace = open_workspace(home)
    workspace.lake.create("mine.precious", pa.schema([("x", pa.int64())]))
    workspace.close()
    out, err = _start(["--home", str(home)]).communicate(timeout=300)
    assert "mine.precious" in err
    assert "hint:" in err
    workspace = open_workspace(home)
    assert workspace.lake.rows(_PREDICTIONS) == stories["calm"][0]["scored"]
    workspace.close()
    assert out == ""


def test_killed_it_leaves_nothing_behind_and_starts_clean(tmp_path: Path) -> None:
    home = tmp_path / "home"
    killed = _start(["--home", str(home)])
    _read_until(killed, "training set")
    killed.kill()
    killed.communicate()
    again = _start(["--home", str(home)])
    assert "interrupted was found" in _read_until(again, "[ok] home")
    _read_until(again, "raw data")
    for _ in range(6):  # one that comes while Python can't raise is lost: at the end of an import
        again.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            again.communicate(timeout=30)
            break
    assert again.returncode == 130
    _wait_until_gone(home)


def _start(options: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "millrace.cli.main", "quickstart", "--json", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    pytest.fail(f"the quickstart ended before it said '{text}'")


def _wait_until_gone(home: Path) -> None:
    until = time.monotonic() + 60
    while str(home) in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < until, "a process of the quickstart is still there"
        time.sleep(0.1)


def _same(row: dict[str, Any], snapshots: list[tuple[Any, dict[str, Any]]], names: list[str]) -> bool:
    place = bisect.bisect_right([time for time, _ in snapshots], row["timestamp"]) - 1
    offline = snapshots[place][1] if place >= 0 else dict.fromkeys(names)
    return all(_number(offline[name]) == row[name] for name in names)


def _number(value: object) -> float | None:
    return None if value is None else float(value) if isinstance(value, int | float | Decimal) else float("nan")
