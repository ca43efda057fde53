"""Parts that the files of all providers share."""

from __future__ import annotations

from millrace.ci.providers.types import Layout
from millrace.ci.types import Target

HEADING = """\
# Written by `millrace ci init`. Each stage is one command, which does the same on your own machine: `millrace ci run STAGE`.
# Train, validate and deploy work in the homes that millrace.toml names. All stages must reach the same ones: use runners that
# keep their disk, or put databases and tables on servers (MILLRACE_DATABASE_URL, MILLRACE_MLFLOW_URL, MILLRACE_WAREHOUSE).
"""


def heading(approvals: str) -> str:
    """What the file says of itself, as comments."""
    return HEADING + f"# {approvals}\n"


def train_command(layout: Layout, stage: str) -> str:
    """A stage that works in the home that is trained in."""
    return f"millrace ci run {stage} --target {layout.project.train}"


def deploy_command(target: Target, who: str, why: str) -> str:
    """The deployment to a target. Where it needs an approval, the provider has asked for it before the job began."""
    approved = f" --approve-as {who} --reason {why}" if target.approval else ""
    return f"millrace ci run deploy --target {target.name}{approved}"


def script(command: str, spaces: int) -> str:
    """A command as a block of YAML, in which nothing needs a quote."""
    return "|\n" + indented(command + "\n", spaces)


def indented(text: str, spaces: int) -> str:
    """Every line moved to the right."""
    return "".join(" " * spaces + line if line.strip() else line for line in text.splitlines(keepends=True))
