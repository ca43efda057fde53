"""The generated CI pipelines, lived through in scratch repositories: their own commands, stage by stage, as each CI system runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml  # type: ignore[import-untyped]

from tests.acceptance.ci_repository import Homes, Repository, bash, make_homes
from tests.unit.ci.test_providers import check, scripts

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    """For all providers: who comes first trains, and the others find the version, as any commit does that changes no pipeline."""
    return make_homes(tmp_path_factory.mktemp("homes"))


def test_the_stages_of_githubs_file_run_end_to_end(tmp_path: Path, homes: Homes) -> None:
    repository = Repository(tmp_path, homes)
    homes.empty_prod()
    repository.bash("millrace ci init --provider github")
    sha = repository.commit("CI")
    file = tmp_path / ".github" / "workflows" / "millrace.yml"
    check("github", file)
    commands = {
        job: line for job, line in scripts("github", yaml.safe_load(file.read_text())) if "millrace ci run" in line
    }
    assert list(commands) == ["test", "train", "validate", "deploy-prod"]
    told = _github(tmp_path)
    for job in ("test", "train", "validate"):
        repository.bash(commands[job], told)
        ET.parse(tmp_path / "ci-reports" / f"{job}.xml")  # noqa: S314 - our own
    assert repository.report("validate")["status"] == "passed"
    assert repository.report("train")["facts"] == {**repository.report("train")["facts"], "commit": sha, "version": "1"}  # type: ignore[dict-item]
    said = repository.bash(commands["deploy-prod"], told)
    assert "production is v1" in said
    log = homes.log()
    assert [(move["alias"], move["version"]) for move in log] == [("production", "1")]
    assert (
        "approved by GitHub environment prod: run of octocat, https://github.example/ada/shop/actions/runs/7"
        in log[0]["why"]
    )
    summary = (tmp_path / "summary.md").read_text()
    assert summary.count("## ✅") == 4
    _twice_is_once(repository, homes, commands, told)
    _what_is_not_committed_or_not_trained_goes_nowhere(repository, commands, told)


def _github(folder: Path) -> dict[str, str]:
    run = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "ada/shop", "GITHUB_RUN_ID": "7"}
    files = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_OUTPUT": str(folder / "values.txt")}
    return {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat", **run, **files}


def _twice_is_once(repository: Repository, homes: Homes, commands: Mapping[str, str], told: Mapping[str, str]) -> None:
    assert "already" in repository.bash(commands["train"], told)
    repository.bash(commands["deploy-prod"], told)
    assert len(homes.log()) == 1


def _what_is_not_committed_or_not_trained_goes_nowhere(
    repository: Repository, commands: Mapping[str, str], told: Mapping[str, str]
) -> None:
    page = repository.folder / "pipeline.py"
    page.write_text(page.read_text() + "# not committed\n")
    assert "files differ from commit" in repository.bash(commands["deploy-prod"], told, code=1)
    page.write_text(page.read_text().replace("roc_auc=0.6", "roc_auc=0.9999"))
    repository.commit("a bar that is too high")
    said = repository.bash(commands["validate"], told, code=1)
    assert "::error title=millrace validate::no version of ml.models.shop was trained from commit" in said
    assert repository.report("validate")["exit_code"] == 1


def test_the_stages_of_azures_file_run_end_to_end(tmp_path: Path, homes: Homes) -> None:
    """In a folder of the repository, as Azure's agent runs them: macros filled in, each script in a shell of its own."""
    repository = Repository(tmp_path, homes, "models/shop")
    homes.empty_prod()
    repository.bash("millrace ci init --provider azure-devops")
    repository.commit("CI")
    stages = yaml.safe_load((tmp_path / "azure-pipelines.yml").read_text())["stages"]
    said = [_azure_stage(stage, tmp_path) for stage in stages]
    assert [stage["stage"] for stage in stages] == ["Test", "Train", "Validate", "Deploy_prod"]
    assert "##vso[task.setvariable variable=millrace_version;isOutput=true]1\n" in said[1]
    for text in said:
        (summary,) = re.findall(r"^##vso\[task\.uploadsummary\](.*)$", text, re.MULTILINE)
        assert "## ✅" in Path(summary).read_text()
    (promoted,) = homes.log()
    link = "https://dev.azure.example/ada/Customer churn/_build/results?buildId=7"
    assert (promoted["alias"], promoted["version"]) == ("production", "1")
    assert f"approved by Azure environment prod: run of {_ODD}, {link}" in promoted["why"]


# Whoever runs it is called what they like: it goes into the log, and is no part of a script.
_ODD = "Ada \"the first\" $(id) 'Lovelace'"


def _azure_stage(stage: Mapping[str, Any], top: Path) -> str:
    (job,) = stage["jobs"]
    steps = job["steps"] if "steps" in job else job["strategy"]["runOnce"]["deploy"]["steps"]
    collection = {"SYSTEM_COLLECTIONURI": "https://dev.azure.example/ada/", "SYSTEM_TEAMPROJECT": "Customer churn"}
    build = {"BUILD_BUILDID": "7", "BUILD_REQUESTEDFOR": _ODD, "BUILD_SOURCESDIRECTORY": str(top)}
    said = ""
    for step in (_filled(step, top) for step in steps):
        if "bash" in step:
            told = {"TF_BUILD": "True", **collection, **build, **step.get("env", {})}
            said += bash(step["bash"], Path(step["workingDirectory"]), told, options=())
        elif str(step.get("task", "")).startswith("PublishTestResults"):
            ET.parse(step["inputs"]["testResultsFiles"])  # noqa: S314 - our own
    return said


def _filled(step: Mapping[str, Any], top: Path) -> Mapping[str, Any]:
    """A step with Azure's macros filled in; in a script of ours there are none."""
    assert "$(" not in step.get("bash", "")
    text = json.dumps(step).replace("$(Build.SourcesDirectory)", str(top))
    for macro in ("Agent.OS", "PIP_CACHE_DIR", "System.JobAttempt"):
        text = text.replace(f"$({macro})", "1")
    assert "$(" not in text
    filled: Mapping[str, Any] = json.loads(text)
    return filled


def test_the_stages_of_gitlabs_file_run_end_to_end(tmp_path: Path, homes: Homes) -> None:
    """In a folder of the repository, as GitLab's runner runs them: what comes before and the script in one shell."""
    repository = Repository(tmp_path, homes, "models/shop")
    homes.empty_prod()
    repository.bash("millrace ci init --provider gitlab")
    repository.commit("CI")
    document = yaml.safe_load((tmp_path / ".gitlab-ci.yml").read_text())
    assert document["stages"] == ["test", "train", "validate", "deploy-prod"]
    url = "https://gitlab.example/ada/shop/-/jobs/7"
    told = {"GITLAB_CI": "true", "CI_PROJECT_DIR": str(tmp_path), "CI_JOB_URL": url, "GITLAB_USER_LOGIN": "ada"}
    for stage in document["stages"]:
        job = document[stage]
        lines = [*document["default"]["before_script"], *job["script"]]
        bash("\n".join(lines), tmp_path, told, options=("-eo", "pipefail"))
        reports = job["artifacts"]["reports"]
        ET.parse(tmp_path / reports["junit"])  # noqa: S314 - our own
        if "dotenv" in reports:
            assert "MILLRACE_CI_VERSION=1\n" in (tmp_path / reports["dotenv"]).read_text()
        if "metrics" in reports:
            assert 'millrace_holdout{metric="roc_auc"} 0.' in (tmp_path / reports["metrics"]).read_text()
    (promoted,) = homes.log()
    assert (promoted["alias"], promoted["version"]) == ("production", "1")
    assert f"approved by ada: started by hand in prod, {url}" in promoted["why"]
