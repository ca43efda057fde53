from __future__ import annotations

from pathlib import Path

import pytest

from millrace.ci.project import choose_target, find_project, pipeline_of, read_project
from millrace.ci.types import Project
from millrace.core.errors import InvalidInput, NotFound, UsageError

WHOLE = """
[project]
pipelines = ["churn.py", "value/pipeline.py"]
tests = "pytest -q tests"

[targets.lab]
home = ".millrace/lab"

[targets.live]
server = "https://mlops.example:5010/"
token_env = "LIVE_TOKEN"
certificate = "live.pem"
approval = true

[ci]
train = "lab"
reports = "out"
runner = "gpu-less"
"""


def read(folder: Path, text: str) -> Project:
    (folder / "millrace.toml").write_text(text)
    return read_project(folder / "millrace.toml")


def test_all_that_a_file_can_say(tmp_path: Path) -> None:
    project = read(tmp_path, WHOLE)
    lab, live = project.targets
    assert project.pipelines == (tmp_path / "churn.py", tmp_path / "value" / "pipeline.py")
    assert (project.tests, project.train, project.reports) == ("pytest -q tests", "lab", tmp_path / "out")
    assert project.runner == "gpu-less"
    assert (lab.home, lab.server, lab.approval, lab.alias) == (tmp_path / ".millrace" / "lab", None, False, "staging")
    assert (live.home, live.server, live.token_env) == (None, "https://mlops.example:5010", "LIVE_TOKEN")
    assert (live.certificate, live.approval, live.alias) == (tmp_path / "live.pem", True, "production")


def test_without_targets_there_are_three_of_one_home_and_prod_asks(tmp_path: Path) -> None:
    for project in (find_project(tmp_path), read(tmp_path, "")):
        assert [(each.name, each.home, each.approval, each.alias) for each in project.targets] == [
            ("dev", None, False, "staging"),
            ("staging", None, False, "staging"),
            ("prod", None, True, "production"),
        ]
        assert (project.train, project.pipelines) == ("dev", (tmp_path / "pipeline.py",))


def test_the_file_is_found_from_below(tmp_path: Path) -> None:
    read(tmp_path, WHOLE)
    (tmp_path / "value" / "deep").mkdir(parents=True)
    assert find_project(tmp_path / "value" / "deep").file == tmp_path / "millrace.toml"
    assert find_project(tmp_path / "millrace.toml").folder == tmp_path
    with pytest.raises(NotFound, match="there is no"):
        find_project(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[targets", "Expected", "quotes"),
        ("name = pipeline", "Invalid value", "quotes"),
        ("[target.dev]", "no key target", "did you mean 'targets'?"),
        ("[targets.dev]\nhme = 'x'", "no key targets.dev.hme", "did you mean 'home'?"),
        ("[targets.dev]\napproval = 'yes'", "targets.dev.approval is not true or false", "approval = true"),
        ("[targets.dev]\nhome = 7", "targets.dev.home is not a text", 'home = "..."'),
        ("[targets]\ndev = 'x'", "targets.dev is not a table", "[targets.dev]"),
        ("[targets]", "targets is empty", "dev, staging, prod"),
        ("[targets.'a b']", "'a b' is not a target's name", "letters"),
        ("[targets.p]\nhome = 'x'\nserver = 'http://h:1'", "both home and server", "one or the other"),
        ("[targets.p]\nhome = ''", "targets.p.home is empty", "leave it out"),
        ("[targets.p]\nhome = '~nobody-of-that-name/h'", "targets.p.home is '~nobody", "in full"),
        ("[targets.p]\nalias = 'a/b'", "targets.p.alias is 'a/b'", "production, staging"),
        ("[targets.p]\nalias = 'previous'", "targets.p.alias is 'previous'", "production, staging"),
        ("[targets.p]\nserver = 'h:1'", "targets.p.server is 'h:1'", "http://"),
        ("[targets.p]\nserver = 'http://me:secret@h:1'", "targets.p.server", "without user"),
        ("[targets.p]\ntoken_env = 'T'", "no server", "add server"),
        ("[targets.dev]\n[ci]\ntrain = 'def'", "ci.train is 'def'", "did you mean 'dev'?"),
        ("[ci]\nruner = 'x'", "no key ci.runer", "did you mean 'runner'?"),
        ("[project]\npipelines = []", "project.pipelines is not a list of texts", "pipelines ="),
        ("[project]\npipelines = 'x.py'", "project.pipelines is not a list of texts", "pipelines ="),
    ],
)
def test_what_is_wrong_is_named_with_a_way_out(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(tmp_path, text)
    assert message in refused.value.message
    assert str(tmp_path / "millrace.toml") in refused.value.message
    assert hint in refused.value.hint


def test_a_token_that_was_written_into_the_file_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(tmp_path, "[targets.p]\nserver = 'http://h:1'\ntoken_env = 'mr-4f9a.secret!'")
    assert "secret" not in str(refused.value)
    assert "environment variable" in refused.value.message


def test_a_target_by_option_by_variable_and_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = read(tmp_path, WHOLE)
    monkeypatch.delenv("MILLRACE_TARGET", raising=False)
    assert choose_target(project, None, "lab").name == "lab"
    monkeypatch.setenv("MILLRACE_TARGET", "live")
    assert choose_target(project, None, "lab").name == "live"
    assert choose_target(project, "lab", "live").name == "lab"
    with pytest.raises(UsageError, match="no target 'life'") as refused:
        choose_target(project, "life", "lab")
    assert refused.value.hint == "did you mean 'live'?"
    monkeypatch.setenv("MILLRACE_TARGET", "lap")
    with pytest.raises(UsageError, match=r"\(from MILLRACE_TARGET\)"):
        choose_target(project, None, "lab")


def test_the_pipeline_is_named_or_the_only_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no pipeline") as refused:
        pipeline_of(find_project(tmp_path), None)
    assert "millrace init" in refused.value.hint
    (tmp_path / "pipeline.py").touch()
    assert pipeline_of(find_project(tmp_path), None) == tmp_path / "pipeline.py"
    with pytest.raises(UsageError, match="has 2 pipelines") as several:
        pipeline_of(read(tmp_path, WHOLE), None)
    assert "churn.py, value/pipeline.py" in several.value.hint
    with pytest.raises(UsageError, match="has 2 pipelines") as elsewhere:
        pipeline_of(read(tmp_path, f"[project]\npipelines = ['{tmp_path.parent}/x.py', 'y.py']"), None)
    assert "../x.py, y.py" in elsewhere.value.hint
