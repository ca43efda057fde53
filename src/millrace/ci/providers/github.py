"""GitHub Actions: environments hold the approvals, step summaries the reports."""

from __future__ import annotations

from millrace.ci.providers.text import deploy_command, heading, indented, script, train_command
from millrace.ci.providers.types import Layout, Provider
from millrace.ci.types import Target

_APPROVALS = "Approvals: Settings > Environments > the target's name > Required reviewers."


def _write(layout: Layout) -> str:
    jobs = [
        _job(layout, "test", "", "millrace ci run test"),
        _job(layout, "train", _needs("test") + _on_branch(layout), train_command(layout, "train")),
        _job(layout, "validate", _needs("train"), train_command(layout, "validate")),
    ]
    before = "validate"
    for target in layout.deploys:
        name = f"deploy-{target.name}"
        jobs.append(
            _job(layout, name, f"{_needs(before)}environment: {target.name}\n", _deploy(target), report="deploy")
        )
        before = name
    return f"{heading(_APPROVALS)}{_head(layout)}\njobs:\n" + "\n".join(indented(job, 2) for job in jobs)


def _head(layout: Layout) -> str:
    return f"""\
name: millrace

on:
  push:
    branches: ['{layout.branch}']
  pull_request:
  workflow_dispatch:

permissions:
  contents: read

# One at a time: they train and deploy in the same home.
concurrency:
  group: millrace-${{{{ github.ref }}}}
  cancel-in-progress: false

defaults:
  run:
    shell: bash
    working-directory: {layout.folder}
"""


def _job(layout: Layout, name: str, head: str, command: str, report: str | None = None) -> str:
    runner = layout.project.runner or "ubuntu-latest"
    stage = report or name
    lock = "requirements.txt" if layout.folder == "." else f"{layout.folder}/requirements.txt"
    return f"""\
{name}:
{indented(head, 2)}  runs-on: {runner}
  steps:
    - uses: actions/checkout@v4
    - uses: actions/setup-python@v5
      with:
        python-version: "3.12"
        cache: pip
        cache-dependency-path: {lock}
    - name: Install
      run: {script(layout.project.install, 8)}    - name: Millrace {stage}
      run: {script(command, 8)}{indented(_secrets(layout), 6)}    - name: Reports
      if: always()
      uses: actions/upload-artifact@v4
      with:
        name: reports-{name}
        path: {layout.reports}/{stage}.*
        if-no-files-found: ignore
"""


def _deploy(target: Target) -> str:
    # GitHub keeps who has reviewed; a job is told only whose run it is.
    run = "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID"
    return deploy_command(target, f'"GitHub environment {target.name}"', f'"run of $GITHUB_ACTOR, {run}"')


def _secrets(layout: Layout) -> str:
    if not layout.variables:
        return ""
    return "env:\n" + "".join(f"  {name}: ${{{{ secrets.{name} }}}}\n" for name in layout.variables)


def _needs(job: str) -> str:
    return f"needs: {job}\n"


def _on_branch(layout: Layout) -> str:
    """Changes that are proposed are tested only: they may be anybody's."""
    return f"if: github.event_name != 'pull_request' && github.ref == 'refs/heads/{layout.branch}'\n"


GITHUB = Provider("github", ".github/workflows/millrace.yml", (".github",), ("github.com",), _write, _APPROVALS)
