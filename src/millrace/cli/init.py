"""`millrace init`: a small project to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from millrace.cli.options import Json
from millrace.cli.output import print_json, say
from millrace.core.errors import AlreadyExists, UsageError

_FILES = {
    "pipeline.py.txt": "pipeline.py",
    "test_pipeline.py.txt": "test_pipeline.py",
    "README.md.txt": "README.md",
    "millrace.toml.txt": "millrace.toml",
    "requirements.txt.txt": "requirements.txt",
    # The home has the token and everything that was asked: nothing for a repository.
    "gitignore.txt": ".gitignore",
}


def init(name: str, *, json: Json = False) -> int:
    """Write a folder NAME with a pipeline, a test of it, and a README that says how to go on."""
    folder = Path(name)
    if not folder.name.replace("-", "_").isidentifier():
        raise UsageError(f"'{folder.name}' is not a project name", hint="use letters, digits, - and _")
    if folder.exists() and any(folder.iterdir()):
        raise AlreadyExists(f"{folder} is not empty", hint="choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    template = resources.files("millrace.cli") / "project"
    for source, target in _FILES.items():
        text = (template / source).read_text().replace("PROJECT", folder.name.replace("-", "_"))
        (folder / target).write_text(text)
    if json:
        print_json({"project": str(folder), "files": sorted(_FILES.values())})
    else:
        say(f"made {folder}/ with {', '.join(sorted(_FILES.values()))}; its README says how to go on")
    return 0
