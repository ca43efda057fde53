from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from check_jsonschema import main as check_jsonschema  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.ci.init import write_pipeline
from millrace.ci.project import find_project
from millrace.ci.providers.layout import PROVIDERS, detect_provider, provider_named
from millrace.ci.types import Project
from millrace.core.errors import UsageError
from tests.unit.ci.test_commit import git

SCHEMAS = {
    "github": ["--builtin-schema", "vendor.github-workflows"],
    "gitlab": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    # The schema's patterns are not written for the Unicode mode of regular expressions.
    "azure-devops": [
        *("--builtin-schema", "vendor.azure-pipelines", "--data-transform", "azure-pipelines"),
        *("--regex-variant", "nonunicode"),
    ],
}
TARGETS = """
[targets.dev]
home = "homes/dev"
[targets.pre-prod]
server = "http://127.0.0.1:5010"
token_env = "PRE_TOKEN"
[targets.prod]
server = "https://mlops.example"
token_env = "PROD_TOKEN"
approval = true
"""


def project_in(folder: Path, text: str = TARGETS) -> Project:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "millrace.toml").write_text(text)
    return find_project(folder)


def check(name: str, file: Path) -> None:
    """Ask the schema that ships inside check-jsonschema."""
    check_jsonschema([*SCHEMAS[name], str(file)], standalone_mode=False)


def scripts(name: str, document: Any) -> Iterator[tuple[str, str]]:
    """Job and command of every step that runs one."""
    if name == "github":
        for job, body in document["jobs"].items():
            yield from ((job, step["run"]) for step in body["steps"] if "run" in step)
    elif name == "gitlab":
        for job, body in document.items():
            if isinstance(body, Mapping) and "script" in body:
                yield from ((job, line) for line in [*document["default"]["before_script"], *body["script"]])
    else:
        for stage in document["stages"]:
            (job,) = stage["jobs"]
            steps = job["steps"] if "steps" in job else job["strategy"]["runOnce"]["deploy"]["steps"]
            yield from ((stage["stage"], step["bash"]) for step in steps if "bash" in step)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("text", [TARGETS, ""], ids=["three places", "one home"])
def test_the_file_is_valid_and_calls_the_stages_in_order(tmp_path: Path, name: str, text: str) -> None:
    written = write_pipeline(project_in(tmp_path, text), provider_named(name))
    assert written.outcome == "written"
    check(name, written.file)
    commands = [
        shlex.split(line) for _, line in scripts(name, yaml.safe_load(written.file.read_text())) if "millrace" in line
    ]
    assert [line[3] for line in commands] == ["test", "train", "validate", "deploy", "deploy"]
    assert all(line[:3] == ["millrace", "ci", "run"] for line in commands)
    to = "pre-prod" if text else "staging"
    assert [line[5] for line in commands[1:]] == ["dev", "dev", to, "prod"]
    assert "--approve-as" in commands[-1]
    assert "--approve-as" not in commands[-2]


@pytest.mark.parametrize("name", SCHEMAS)
def test_secrets_are_the_providers_variables(tmp_path: Path, name: str) -> None:
    written = write_pipeline(project_in(tmp_path), provider_named(name))
    text = written.file.read_text()
    assert "PROD_TOKEN" in text
    assert "PRE_TOKEN" in text
    assert any("PRE_TOKEN, PROD_TOKEN" in remark for remark in written.remarks)
    if name == "github":
        assert "PROD_TOKEN: ${{ secrets.PROD_TOKEN }}" in text


@pytest.mark.parametrize("name", SCHEMAS)
def test_only_the_branch_deploys_and_each_waits_for_the_one_before(tmp_path: Path, name: str) -> None:
    document = yaml.safe_load(
        write_pipeline(project_in(tmp_path), provider_named(name), branch="trunk").file.read_text()
    )
    if name == "github":
        jobs = document["jobs"]
        assert [jobs[job].get("needs") for job in jobs] == [None, "test", "train", "validate", "deploy-pre-prod"]
        assert "github.ref == 'refs/heads/trunk'" in jobs["train"]["if"]
        assert [jobs[job].get("environment") for job in jobs][-2:] == ["pre-prod", "prod"]
    elif name == "gitlab":
        assert document["stages"] == ["test", "train", "validate", "deploy-pre-prod", "deploy-prod"]
        rule = document["deploy-prod"]["rules"][0]
        assert rule == {"if": '$CI_COMMIT_BRANCH == "trunk"', "when": "manual"}
        assert document["deploy-prod"]["allow_failure"] is False
        assert "when" not in document["deploy-pre-prod"]["rules"][0]
        assert document["deploy-prod"]["environment"] == {"name": "prod"}
    else:
        assert [stage.get("dependsOn") for stage in document["stages"]] == [
            None,
            "Test",
            "Train",
            "Validate",
            "Deploy_pre_prod",
        ]
        assert "'refs/heads/trunk'" in document["stages"][1]["condition"]
        assert document["stages"][-1]["jobs"][0]["environment"] == "prod"


@pytest.mark.parametrize("branch", ["main", "release/1"])
def test_a_branch_is_told_from_others_by_its_whole_name(tmp_path: Path, branch: str) -> None:
    """`release/1` is itself, and `feature/main` is not `main`: no provider's variable of a name's last part will do."""
    written = {
        name: yaml.safe_load(write_pipeline(project_in(tmp_path), provider_named(name), branch=branch).file.read_text())
        for name in SCHEMAS
    }
    azure = written["azure-devops"]["stages"][1]["condition"]
    assert f"eq(variables['Build.SourceBranch'], 'refs/heads/{branch}')" in azure
    assert written["github"]["jobs"]["train"]["if"].endswith(f"github.ref == 'refs/heads/{branch}'")
    assert written["gitlab"]["train"]["rules"] == [{"if": f'$CI_COMMIT_BRANCH == "{branch}"'}]
    assert written["azure-devops"]["trigger"]["branches"]["include"] == [branch]
    assert written["github"][True]["push"]["branches"] == [branch]  # YAML 1.1 reads `on` as true


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_project_that_is_a_part_of_its_repository(tmp_path: Path, name: str) -> None:
    git(tmp_path, "init", "-q")
    project = project_in(tmp_path / "models" / "churn", TARGETS + '[ci]\nrunner = "big"\ninstall = "uv sync"\n')
    written = write_pipeline(project, provider_named(name))
    assert written.file == tmp_path / provider_named(name).path
    check(name, written.file)
    text = written.file.read_text()
    assert "models/churn/ci-reports" in text
    assert "uv sync" in text
    assert "big" in text


def test_what_is_there_is_shown_as_a_diff_and_kept(tmp_path: Path) -> None:
    project, github = project_in(tmp_path), provider_named("github")
    first = write_pipeline(project, github)
    assert write_pipeline(project, github).outcome == "unchanged"
    first.file.write_text(first.file.read_text().replace("name: millrace", "name: mine"))
    kept = write_pipeline(project, github)
    assert (kept.outcome, first.file.read_text().count("name: mine")) == ("kept", 1)
    assert "-name: mine\n+name: millrace\n" in kept.diff
    assert write_pipeline(project, github, force=True).outcome == "written"
    assert "name: mine" not in first.file.read_text()


def test_what_is_left_to_do_by_hand_is_told(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    remarks = " ".join(write_pipeline(project, provider_named("github")).remarks)
    assert "prod must be approved" in remarks
    assert "requirements.txt" in remarks
    (tmp_path / "requirements.txt").touch()
    assert "requirements.txt" not in " ".join(write_pipeline(project, provider_named("github")).remarks)


def test_the_provider_is_known_by_files_then_by_the_remote(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing in .* tells its CI system"):
        detect_provider(tmp_path)
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://ada@dev.azure.com/ada/churn/_git/churn")
    assert detect_provider(tmp_path).name == "azure-devops"
    (tmp_path / ".gitlab-ci.yml").touch()
    assert detect_provider(tmp_path).name == "gitlab"
    (tmp_path / ".github").mkdir()
    with pytest.raises(UsageError, match="files of github and gitlab") as both:
        detect_provider(tmp_path)
    assert "--provider" in both.value.hint


def test_an_unknown_provider() -> None:
    with pytest.raises(UsageError, match="no provider 'git-hub'") as refused:
        provider_named("git-hub")
    assert refused.value.hint == "did you mean 'github'?"


def test_a_branch_that_would_have_to_be_quoted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a branch"):
        write_pipeline(project_in(tmp_path), provider_named("github"), branch="a'; $(x)")


_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(_NAMES, min_size=1, max_size=4, unique=True),
    approval=st.booleans(),
    branch=st.from_regex(r"[a-z][a-z0-9/_.-]{0,10}[a-z0-9]", fullmatch=True),
)
def test_whatever_targets_are_called_all_files_are_yaml_with_these_targets(
    tmp_path: Path, *, names: list[str], approval: bool, branch: str
) -> None:
    text = "".join(f"[targets.{name}]\napproval = {str(approval).lower()}\n" for name in names)
    project = project_in(tmp_path, text)
    expected = names[1:] or names
    for provider in PROVIDERS:
        file = write_pipeline(project, provider, branch=branch, force=True).file
        commands = [
            shlex.split(line)
            for _, line in scripts(provider.name, yaml.safe_load(file.read_text()))
            if "ci run deploy" in line
        ]
        assert [line[5] for line in commands] == expected
        assert all(("--approve-as" in line) == approval for line in commands)
