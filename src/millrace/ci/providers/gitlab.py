"""GitLab CI: manual jobs in protected environments hold the approvals, report artifacts the results."""

from __future__ import annotations

from millrace.ci.providers.text import deploy_command, heading, indented, script, train_command
from millrace.ci.providers.types import Layout, Provider
from millrace.ci.types import Target

_APPROVALS = "Approvals: the job waits to be started by hand; who may do so: Settings > CI/CD > Protected environments."


def _write(layout: Layout) -> str:
    jobs = [
        _job(layout, "test", "millrace ci run test", _always()),
        _job(layout, "train", train_command(layout, "train"), _on_branch(layout)),
        _job(layout, "validate", train_command(layout, "validate"), _on_branch(layout)),
        *(_deploy(layout, target) for target in layout.deploys),
    ]
    return heading(_APPROVALS) + _head(layout) + "\n" + "\n".join(jobs)


def _head(layout: Layout) -> str:
    runner = f"  tags: [{layout.project.runner}]\n" if layout.project.runner else ""
    variables = "".join(
        f"# {name} is a masked and protected variable of the project: Settings > CI/CD > Variables.\n"
        for name in layout.variables
    )
    # The script of each job goes on in the folder that this one ends in.
    install = layout.project.install if layout.folder == "." else f"cd {layout.folder}\n{layout.project.install}"
    stages = "".join(f"  - {stage}\n" for stage in _stages(layout))
    return f"""\
{variables}stages:
{stages}
variables:
  PIP_CACHE_DIR: "$CI_PROJECT_DIR/.cache/pip"

default:
  image: python:3.12
{runner}  cache:
    key:
      files: [{"requirements.txt" if layout.folder == "." else f"{layout.folder}/requirements.txt"}]
    paths: [.cache/pip]
  before_script:
    - {script(install, 6)}"""


def _stages(layout: Layout) -> list[str]:
    return ["test", "train", "validate", *(f"deploy-{target.name}" for target in layout.deploys)]


def _job(layout: Layout, name: str, command: str, rules: str, *, extra: str = "", report: str | None = None) -> str:
    stage, folder = report or name, layout.reports
    metrics = f"      metrics: {folder}/{stage}.metrics.txt\n" if stage == "validate" else ""
    values = "" if stage == "test" else f"      dotenv: {folder}/{stage}.env\n"
    return f"""\
{name}:
  stage: {name}
{extra}  script:
    - {script(command, 6)}{rules}  artifacts:
    when: always
    paths: ["{folder}/{stage}.*"]
    reports:
      junit: {folder}/{stage}.xml
{values}{metrics}"""


def _deploy(layout: Layout, target: Target) -> str:
    command = deploy_command(target, '"$GITLAB_USER_LOGIN"', f'"started by hand in {target.name}, $CI_JOB_URL"')
    by_hand = "      when: manual\n" if target.approval else ""
    extra = f"  environment:\n    name: {target.name}\n  resource_group: {target.name}\n"
    if target.approval:
        extra += "  allow_failure: false\n"
    return _job(layout, f"deploy-{target.name}", command, _on_branch(layout) + by_hand, extra=extra, report="deploy")


def _always() -> str:
    return indented('rules:\n  - if: $CI_PIPELINE_SOURCE == "merge_request_event"\n  - if: $CI_COMMIT_BRANCH\n', 2)


def _on_branch(layout: Layout) -> str:
    """Changes that are proposed are tested only: they may be anybody's."""
    return indented(f'rules:\n  - if: $CI_COMMIT_BRANCH == "{layout.branch}"\n', 2)


GITLAB = Provider("gitlab", ".gitlab-ci.yml", (".gitlab-ci.yml", ".gitlab"), ("gitlab.",), _write, _APPROVALS)
