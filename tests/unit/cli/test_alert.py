from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.alerts.types import EpisodeId, Note
from millrace.workspace import Workspace, open_workspace
from tests.unit.cli.conftest import Cli

NOW = datetime(2025, 3, 10, 6, tzinfo=UTC)
SECRET = "s3cr3t-t0ken"  # noqa: S105 - not one
SLACK = "TIiajkdnlazkcOXrIdevi7FQ"
SQL = "SELECT score FROM ml.monitoring.summary ORDER BY day DESC"


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    opened = open_workspace(home)
    opened.clock.set(NOW)
    fill(opened, 0.1, 0.3)
    yield opened
    opened.close()


def fill(workspace: Workspace, *scores: float) -> None:
    days = [NOW - timedelta(days=len(scores) - at) for at in range(len(scores))]
    rows = pa.table({"day": pa.array(days, pa.timestamp("us", "UTC")), "score": scores})
    workspace.lake.ensure("ml.monitoring.summary", rows.schema)
    workspace.lake.overwrite("ml.monitoring.summary", rows)


def made(cli: Cli, *more: str, sql: str = SQL) -> None:
    said = cli("alert", "create", "score", "--sql", sql, "--operator", ">", "--threshold", "0.2", *more)
    assert said.code == 0, said.err


def test_a_rule_opens_is_shown_and_resolves(cli: Cli, workspace: Workspace) -> None:
    assert "no alert rules yet" in cli("alert", "list").out
    made(cli, "--label", "team=risk", "--repeat", "1d", "--every", "1h")
    found = cli("alert", "evaluate", "--json").json()
    assert (found["states"]["score"]["state"], found["states"]["score"]["value"]) == ("bad", 0.3)
    (episode,) = found["open"]
    assert (episode["rule"], episode["kind"], episode["reason"]) == (
        "score",
        "metric",
        "score is 0.3: the rule is met (> 0.2)",
    )
    shown = cli("alert", "show", "score", "--json").json()
    assert (shown["labels"], shown["repeat_after"], shown["condition"]["sql"]) == ({"team": "risk"}, 86400.0, SQL)
    (rule,) = cli("alert", "list", "--json").json()["rules"]
    assert rule["state"]["state"] == "bad"
    workspace.episodes.note(EpisodeId(episode["id"]), Note(NOW, "system:pipeline", "retrained as v7", "v7"))
    for command in (("show", str(episode["id"])), ("history",), ("history", "score")):
        assert "retrained as v7" in cli("alert", *command).out
    lines = cli("alert", "show", str(episode["id"]), "--json").json()["history"]
    assert [line["text"] for line in lines] == ["score is 0.3: the rule is met (> 0.2)", "retrained as v7"]
    fill(workspace, 0.3, 0.1)
    workspace.clock.set(NOW + timedelta(days=1))
    assert cli("alert", "evaluate", "score", "--json").json()["open"] == []
    assert [one["status"] for one in cli("alert", "history", "--json").json()["episodes"]] == ["resolved"]
    assert cli("alert", "delete", "score").out == "rule score is deleted\n"


def test_a_rule_over_a_metric_table(cli: Cli, workspace: Workspace) -> None:
    asked = ("--table", "ml.monitoring.summary", "--column", "score", "--operator", "LESS_THAN", "--threshold", "0.2")
    for aggregation, window, state in [
        ("max", "7d", "ok"),
        ("min", "7d", "bad"),
        ("min", "36h", "ok"),
        ("avg", "1h", "unknown"),
    ]:
        said = cli(
            "alert", "create", "score", *asked, "--aggregation", aggregation, "--window", window, "--time", "day", "--replace", "--json"
        ).json()  # fmt: skip
        assert said["would_be"] == state
    del workspace


def test_a_query_that_breaks_later_is_told_once(cli: Cli, workspace: Workspace) -> None:
    made(cli)
    workspace.lake.overwrite("ml.monitoring.summary", pa.table({"other": [1]}))
    for day in (1, 2):
        workspace.clock.set(NOW + timedelta(days=day))
        found = cli("alert", "evaluate", "--json").json()
        assert (found["states"]["score"]["state"], [one["kind"] for one in found["open"]]) == ("error", ["error"])
    assert len(cli("alert", "history", "--json").json()["episodes"]) == 1


def test_mistakes_are_told_with_the_fix(cli: Cli, workspace: Workspace) -> None:
    del workspace
    base = ("alert", "create", "score", "--threshold", "0.2")
    sql, above = ("--sql", SQL), ("--operator", ">")
    assert "operator is 'above'" in cli(*base, *sql, "--operator", "above").refused()
    assert "score" in cli(*base, *above, "--sql", "SELECT scor FROM ml.monitoring.summary").refused()
    assert "did you mean 'ml.monitoring.summary'" in cli(*base, *above, "--sql", "FROM ml.monitoring.sumary").refused()
    assert "not one SELECT" in cli(*base, *above, "--sql", "DELETE FROM ml.monitoring.summary").refused()
    assert "--for 2" in cli(*base, *sql, *above, "--for", "2").refused(2)
    assert "asks for 3 of 2" in cli(*base, *sql, *above, "--for", "3/2").refused()
    assert "--repeat" in cli(*base, *sql, *above, "--repeat", "soon").refused(2)
    assert "--label x" in cli(*base, *sql, *above, "--label", "x").refused(2)
    assert "no channel 'nobody'" in cli(*base, *sql, *above, "--channel", "nobody").refused()
    assert "can't name a rule" in cli("alert", "create", "7", *sql, *above, "--threshold", "1").refused(2)
    made(cli)
    assert "exists" in cli(*base, *sql, *above).refused()
    assert "did you mean 'score'?" in cli("alert", "show", "scor").refused()
    assert "did you mean 'score'?" in cli("alert", "history", "scor").refused()
    assert "did you mean 'score'?" in cli("alert", "mute", "scor").refused()
    assert "episode 7 does not exist" in cli("alert", "show", "7").refused()
    assert "needs an end" in cli("alert", "silence", "team=risk").refused(2)
    assert "no label" in cli("alert", "silence", "--for", "4h").refused(2)
    assert "matches no label" in cli("alert", "silence", "risk", "--for", "4h").refused()
    assert "over already" in cli("alert", "mute", "score", "--until", "2025-01-01").refused(2)
    assert "both given" in cli("alert", "mute", "score", "--until", "2026-01-01", "--for", "4h").refused(2)
    assert cli(*base, *above, "--sql", "SELECT x FROM later", "--replace", "--unchecked").code == 0


def test_silences_and_mutes(cli: Cli, workspace: Workspace) -> None:
    made(cli, "--label", "team=risk")
    silence = cli(
        "alert", "silence", "team=risk", "kind=~metric|drift", "--for", "4h", "--reason", "deploy", "--json"
    ).json()
    assert (silence["matchers"], silence["ends_at"]) == (["team=risk", "kind=~metric|drift"], "2025-03-10T10:00:00Z")
    cli("alert", "evaluate")
    (episode,) = cli("alert", "history", "--json").json()["episodes"]
    assert (episode["owed"], "deploy" in episode["suppressed"]) == ("opened", True)
    assert "deploy" in cli("alert", "silences").out
    assert cli("alert", "mute", "score", "--for", "2d", "--json").json()["mute"]["until"] == "2025-03-12T06:00:00Z"
    assert "until 2025-03-12" in cli("alert", "list").out
    assert cli("alert", "unsilence", str(silence["id"])).code == 0
    assert cli("alert", "evaluate", "--json").json()["posted"] == 0
    assert cli("alert", "unmute", "score").code == 0
    assert cli("alert", "evaluate", "--json").json()["posted"] == 1
    assert cli("alert", "silences", "--json").json()["silences"] == []
    assert len(cli("alert", "silences", "--all", "--json").json()["silences"]) == 1
    del workspace


def test_a_pipelines_rule_is_changed_in_its_file(cli: Cli, workspace: Workspace) -> None:
    import millrace as mr
    from millrace.alerts.evaluate_all import keep

    keep(workspace.alerts, mr.Alert().declared("churn"))
    workspace.home_settings.set("pipelines", {"churn": "pipeline.py"})
    assert "pipeline churn" in cli("alert", "delete", "churn").refused()
    given = ("--sql", SQL, "--operator", ">", "--threshold", "1", "--replace")
    assert "pipeline churn" in cli("alert", "create", "churn", *given).refused()
    assert "verdicts: drift, quality, volume, performance, estimate" in cli("alert", "list").out
    assert "a critical one" in cli("alert", "show", "churn").out


def test_what_is_secret_is_printed_nowhere(
    cli: Cli, workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    urls = {
        "hook": f"json://user:{SECRET}@127.0.0.1:9/{SECRET}",
        "slack": f"slack://T1JJ3T3L2/A1BRTD4JD/{SLACK}",
    }
    told = []
    for name, url in urls.items():
        monkeypatch.setattr("sys.stdin", io.StringIO(url + "\n"))
        told.append(cli("alert", "channel", "add", name))
    monkeypatch.setenv("HOOK", urls["hook"])
    told.append(cli("alert", "channel", "add", "copied", "--env", "HOOK"))
    told.append(cli("alert", "channel", "add", "kept", "env:HOOK"))
    assert [said.code for said in told] == [0, 0, 0, 0]
    own = cli("alert", "channel", "add", "own", "webhook+http://127.0.0.1:9/x", "--json").json()
    whsec = own.pop("secret")
    told.append(cli("alert", "channel", "add", "bad", f"nosuch://{SECRET}"))
    told.append(cli("alert", "channel", "add", "hook", urls["hook"]))
    made(cli, "--channel", "hook", "--channel", "own", "--channel", "env:HOOK", "--channel", urls["hook"] + "/more")
    commands = [
        ["list"], ["show", "score"], ["evaluate"], ["outbox"], ["history"], ["show", "1"], ["channel", "list"],
        ["channel", "test", "hook"], ["channel", "test", "own"], ["silences"],
    ]  # fmt: skip
    for command in commands:
        told += [cli("alert", *command), cli("alert", *command, "--json")]
    told.append(cli("status"))
    told.append(cli("status", "--json"))
    told.append(cli("alert", "channel", "remove", "hook"))
    said = "".join(one.out + one.err for one in told) + json.dumps(own) + caplog.text
    assert "json://127.0.0.1/***" in said
    assert SECRET not in said
    assert SLACK not in said
    assert whsec not in said
    # And in the database it is in the one table that is for it.
    with sqlite3.connect(home / "millrace.db") as database:
        dump = [line for line in database.iterdump() if SECRET in line or whsec[8:30] in line]
    assert dump
    assert {line.partition(" VALUES")[0] for line in dump} == {'INSERT INTO "alert_channels"'}
    del workspace


def test_channels_are_removed_when_no_rule_names_them(cli: Cli, workspace: Workspace) -> None:
    assert "no channels yet" in cli("alert", "channel", "list").out
    assert cli("alert", "channel", "add", "risk", "json://127.0.0.1:9/x").code == 0
    made(cli, "--channel", "risk")
    assert "used by score" in cli("alert", "channel", "remove", "risk").refused()
    assert "1 failed" in cli("alert", "evaluate").out
    assert cli("alert", "outbox", "--retry", "--json").json()["deliveries"][0]["status"] == "waiting"
    cli("alert", "delete", "score")
    assert cli("alert", "channel", "remove", "risk").code == 0
    assert "no channel 'risk'" in cli("alert", "channel", "test", "risk").refused()
    del workspace


@pytest.mark.parametrize("threshold", ["nan", "inf"])
def test_a_threshold_that_is_no_number_leaves_the_others_be(cli: Cli, home: Path, threshold: str) -> None:
    home.mkdir()
    made = cli("alert", "create", "far", "--sql", "select 1 as x", "--operator", ">", "--threshold", threshold)
    assert "the threshold is" in made.refused()
    assert "there are no alert rules yet" in cli("alert", "list").out
