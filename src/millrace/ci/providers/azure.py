"""Azure Pipelines: environments hold the approvals, test results and artifacts the reports."""

from __future__ import annotations

from millrace.ci.providers.text import deploy_command, heading, indented, script, train_command
from millrace.ci.providers.types import Layout, Provider
from millrace.ci.types import Target

_APPROVALS = "Approvals: Pipelines > Environments > the target's name > Approvals and checks."


def _write(layout: Layout) -> str:
    stages = [
        _stage("Test", "", _job(layout, "test", "millrace ci run test")),
        _stage(
            "Train", "dependsOn: Test\n" + _on_branch(layout), _job(layout, "train", train_command(layout, "train"))
        ),
        _stage("Validate", "dependsOn: Train\n", _job(layout, "validate", train_command(layout, "validate"))),
    ]
    before = "Validate"
    for target in layout.deploys:
        name = f"Deploy_{target.name.replace('-', '_')}"
        stages.append(_stage(name, f"dependsOn: {before}\n", _deployment(layout, target)))
        before = name
    return heading(_APPROVALS) + _head(layout) + "\nstages:\n" + "\n".join(indented(stage, 2) for stage in stages)


def _head(layout: Layout) -> str:
    runner = layout.project.runner
    pool = f"name: {runner}" if runner else "vmImage: ubuntu-latest"
    secrets = "".join(
        f"# {name} is a secret variable of the pipeline, or of a variable group.\n" for name in layout.variables
    )
    return f"""\
{secrets}trigger:
  batch: true
  branches:
    include: ['{layout.branch}']

pr:
  branches:
    include: ['*']

pool:
  {pool}

variables:
  PIP_CACHE_DIR: $(Pipeline.Workspace)/.pip
"""


def _stage(name: str, head: str, job: str) -> str:
    return f"- stage: {name}\n{indented(head, 2)}  jobs:\n{indented(job, 4)}"


def _job(layout: Layout, stage: str, command: str) -> str:
    return f"- job: {stage}\n  steps:\n{indented(_steps(layout, stage, command), 4)}"


def _deployment(layout: Layout, target: Target) -> str:
    # Variables of the shell, not macros: those would be pasted into the script, whatever is in them.
    link = "$SYSTEM_COLLECTIONURI$SYSTEM_TEAMPROJECT/_build/results?buildId=$BUILD_BUILDID"
    command = deploy_command(target, f'"Azure environment {target.name}"', f'"run of $BUILD_REQUESTEDFOR, {link}"')
    steps = indented(_steps(layout, "deploy", command, artifact=f"deploy-{target.name}"), 10)
    name = f"deploy_{target.name.replace('-', '_')}"
    return f"""\
- deployment: {name}
  environment: {target.name}
  strategy:
    runOnce:
      deploy:
        steps:
{steps}"""


def _steps(layout: Layout, stage: str, command: str, artifact: str | None = None) -> str:
    folder = "$(Build.SourcesDirectory)" if layout.folder == "." else f"$(Build.SourcesDirectory)/{layout.folder}"
    reports = f"$(Build.SourcesDirectory)/{layout.reports}"
    lock = "requirements.txt" if layout.folder == "." else f"{layout.folder}/requirements.txt"
    return f"""\
- checkout: self
- task: UsePythonVersion@0
  inputs:
    versionSpec: '3.12'
- task: Cache@2
  inputs:
    key: 'pip | "$(Agent.OS)" | {lock}'
    restoreKeys: 'pip | "$(Agent.OS)"'
    path: $(PIP_CACHE_DIR)
- bash: {script(layout.project.install, 4)}  displayName: Install
  workingDirectory: {folder}
- bash: {script(command, 4)}  name: millrace
  displayName: Millrace {stage}
  workingDirectory: {folder}
{indented(_secrets(layout), 2)}- task: PublishTestResults@2
  condition: succeededOrFailed()
  inputs:
    testResultsFiles: {reports}/{stage}.xml
    testRunTitle: millrace {artifact or stage}
- task: PublishPipelineArtifact@1
  condition: succeededOrFailed()
  inputs:
    targetPath: {reports}
    artifact: reports-{artifact or stage}-$(System.JobAttempt)
"""


def _secrets(layout: Layout) -> str:
    return "env:\n" + "".join(f"  {name}: $({name})\n" for name in layout.variables) if layout.variables else ""


def _on_branch(layout: Layout) -> str:
    """Changes that are proposed are tested only: they may be anybody's."""
    return f"condition: and(succeeded(), ne(variables['Build.Reason'], 'PullRequest'), eq(variables['Build.SourceBranch'], 'refs/heads/{layout.branch}'))\n"


AZURE = Provider(
    "azure-devops",
    "azure-pipelines.yml",
    ("azure-pipelines.yml", ".azuredevops", ".azure-pipelines"),
    ("dev.azure.com", "visualstudio.com"),
    _write,
    _APPROVALS,
)
