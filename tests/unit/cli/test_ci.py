"""The commands around targets, told wrong things. What they do is in tests/integration and tests/acceptance."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.unit.cli.conftest import Cli

PASSING, FAILING = "def test_it():\n    assert True\n", "def test_it():\n    assert 1 == 2\n"


def test_an_unknown_stage_target_or_provider_is_a_wrong_command_line(cli: Cli) -> None:
    assert "did you mean 'train'?" in cli("ci", "run", "trian").refused(2)
    assert "did you mean 'staging'?" in cli("ci", "run", "train", "--target", "stagin").refused(2)
    assert "did you mean 'gitlab'?" in cli("ci", "init", "--provider", "gitlap").refused(2)
    assert "--provider" in cli("ci", "init").refused(2)
    assert "did you mean 'prod'?" in cli("promote", "ml.models.churn", "--to", "prd").refused(2)


def test_nothing_comes_before_the_first_target(cli: Cli) -> None:
    assert "dev is the first target" in cli("promote", "ml.models.churn", "--to", "dev").refused()


def test_a_broken_file_is_named_with_its_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "millrace.toml").write_text("[targets.dev\n")
    said = cli("ci", "run", "test").refused()
    assert str(tmp_path / "millrace.toml") in said
    assert "line 1" in said
    (tmp_path / "millrace.toml").write_text("[targets.dev]\nhomes = 'x'\n")
    assert "did you mean 'home'?" in cli("promote", "m", "--to", "dev").refused()


@pytest.mark.parametrize(
    "line",
    [
        ("ci", "run", "train"),
        ("ci", "run", "validate"),
        ("validate",),
        ("validate", "gone.py"),
        ("validate", "ml.models.churn"),
        ("deploy", "ml.models.churn", "1", "--to", "prod"),
        ("promote", "ml.models.churn", "--to", "prod"),
        ("approve", "ml.models.churn", "1", "--to", "prod", "--reason", "r"),
    ],
    ids=" ".join,
)
def test_without_a_pipeline_or_a_home_nothing_is_made(cli: Cli, home: Path, line: tuple[str, ...]) -> None:
    said = cli(*line).refused()
    assert "there is no" in said
    assert not home.exists()


def test_a_promotion_comes_from_the_target_before_whatever_the_environment_chooses(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = "".join(f"[targets.{name}]\nhome = '{name}'\n" for name in ("dev", "staging", "prod"))
    (tmp_path / "millrace.toml").write_text(homes)
    monkeypatch.setenv("MILLRACE_TARGET", "prod")
    assert str(tmp_path / "staging") in cli("promote", "ml.models.churn", "--to", "prod").refused()
    approve = ("approve", "ml.models.churn", "1", "--to", "prod", "--reason", "r")
    assert str(tmp_path / "dev") in cli(*approve).refused()


def test_what_can_not_be_done_is_in_the_reports_too(cli: Cli, tmp_path: Path) -> None:
    cli("ci", "run", "validate").refused()
    kept = json.loads((tmp_path / "ci-reports" / "validate.json").read_text())
    assert (kept["status"], kept["exit_code"]) == ("failed", 1)
    assert "there is no pipeline" in kept["summary"]
    for ending in ("md", "html", "xml"):
        assert "there is no pipeline" in (tmp_path / "ci-reports" / f"validate.{ending}").read_text().replace(
            "\\_", "_"
        )


@pytest.mark.parametrize(
    "line",
    [
        ("validate",),
        ("validate", "ml.models.churn"),
        ("deploy", "ml.models.churn", "1", "--to", "prod"),
        ("promote", "ml.models.churn", "--to", "prod"),
    ],
    ids=" ".join,
)
def test_what_can_not_be_done_is_in_the_files_that_were_asked_for(
    cli: Cli, tmp_path: Path, line: tuple[str, ...]
) -> None:
    said = cli(*line, "--junit", "told/it.xml", "--markdown", "told/it.md").refused()
    message = said.removeprefix("error: ").partition("\n")[0]
    suite = ET.parse(tmp_path / "told" / "it.xml").getroot()[0]  # noqa: S314 - our own
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("1", "1")
    assert [failure.attrib["message"] for failure in suite.iter("failure")] == [message]
    assert "there is no" in (tmp_path / "told" / "it.md").read_text()


def test_reports_that_can_not_be_written_are_told_before_the_work_and_are_no_bug(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    (tmp_path / "millrace.toml").write_text('[project]\ntests = "touch done"\n')
    assert "taken can't be a folder" in cli("ci", "run", "test", "--reports", "taken").refused()
    assert not (tmp_path / "done").exists()


def test_the_projects_tests_decide_and_never_see_the_home(cli: Cli, tmp_path: Path, home: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(f"import os\n\n\n{PASSING}    assert os.environ['MILLRACE_HOME'] != {str(home)!r}\n")
    (tmp_path / "millrace.toml").write_text('[project]\ntests = "pytest -q -p no:cacheprovider"\n')
    assert cli("ci", "run", "test", "--json").json()["status"] == "passed"
    assert ET.parse(tmp_path / "ci-reports" / "test.xml").getroot()[0].attrib["tests"] == "1"  # noqa: S314 - pytest's own
    file.write_text(FAILING)
    failed = cli("ci", "run", "test")
    assert failed.code == 1
    assert "ended with exit code 1" in (tmp_path / "ci-reports" / "test.md").read_text()
    file.unlink()
    assert cli("ci", "run", "test").code == 1
    assert "there are no tests" in (tmp_path / "ci-reports" / "test.md").read_text()
    (tmp_path / "millrace.toml").write_text('[project]\ntests = ""\n')
    assert cli("ci", "run", "test").code == 0
    (tmp_path / "millrace.toml").write_text('[project]\ntests = "no-such-program x"\n')
    assert "can't be run: no-such-program" in cli("ci", "run", "test").refused()
    (tmp_path / "millrace.toml").write_text('[project]\ntests = "pytest -k \'one"\n')
    assert "No closing quotation" in cli("ci", "run", "test").refused()


def test_init_says_what_is_left_to_do_and_keeps_what_is_there(cli: Cli, tmp_path: Path) -> None:
    first = cli("ci", "init", "--provider", "gitlab")
    assert first.code == 0
    assert "prod must be approved" in first.out
    assert "written" in first.out
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text("stages: [mine]\n")
    kept = cli("ci", "init")  # known by its file
    assert kept.code == 1
    assert "-stages: [mine]" in kept.out
    assert "--force" in kept.err
    assert file.read_text() == "stages: [mine]\n"
    assert cli("ci", "init", "--force", "--json").json()["outcome"] == "written"
