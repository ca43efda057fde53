"""Reading `millrace.toml`: strict, because a key that nobody reads is a promise that nobody keeps."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from millrace.ci.types import Project, Target
from millrace.core.errors import InvalidInput, NotFound, UsageError
from millrace.core.names import did_you_mean

FILE = "millrace.toml"
DEFAULT_TARGETS = ("dev", "staging", "prod")
_TARGET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS: Mapping[type, str] = {str: "a text", bool: "true or false", list: "a list of texts", dict: "a table"}
_TOP = {"project": dict, "targets": dict, "ci": dict}
_PROJECT = {"pipelines": list, "tests": str}
_CI = {"train": str, "reports": str, "install": str, "runner": str}
_TARGET = {"home": str, "server": str, "token_env": str, "certificate": str, "approval": bool, "alias": str}


def find_project(start: Path | None = None) -> Project:
    """The project that a folder is in: by the nearest `millrace.toml` in it or above it, else the folder as it is.

    Args:
        start: a folder, or the file itself; None: the working folder.

    Raises:
        NotFound: `start` does not exist.
        InvalidInput: the file is not what it should be; the message names the place.
    """
    start = (start or Path.cwd()).absolute()
    if not start.exists():
        raise NotFound(f"there is no {start}", hint="name the folder of a project, or its millrace.toml")
    if start.is_file():
        return read_project(start)
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return read_project(folder / FILE)
    return _project(start, None, {})


def read_project(file: Path) -> Project:
    """What a file says.

    Raises:
        InvalidInput: it is no TOML, or has a key or a value that it should not have.
    """
    try:
        return _project(file.parent, file, tomllib.loads(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{file}: {error}", hint='texts are in quotes: name = "value"') from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8", hint="save it as UTF-8") from error


def choose_target(project: Project, name: str | None, default: str) -> Target:
    """The target of that name; without one what `MILLRACE_TARGET` says, else the default.

    Raises:
        UsageError: there is no such target.
    """
    by_environment = None if name else os.environ.get("MILLRACE_TARGET")
    return target_named(project, name or by_environment or default, " (from MILLRACE_TARGET)" if by_environment else "")


def target_named(project: Project, name: str, told: str = "") -> Target:
    """The target of that name; `told` is where the name comes from.

    Raises:
        UsageError: there is no such target.
    """
    for target in project.targets:
        if target.name == name:
            return target
    where = project.file or "the targets by default"
    hint = did_you_mean(name, [target.name for target in project.targets])
    raise UsageError(f"{where} has no target '{name}'{told}", hint=hint, target=name)


def pipeline_of(project: Project, given: Path | None) -> Path:
    """The pipeline file that was named, else the only one of the project.

    Raises:
        UsageError: none was named, and there are several.
        NotFound: there is none.
    """
    if given is not None:
        return given.absolute()
    if len(project.pipelines) > 1:
        names = ", ".join(os.path.relpath(file, project.folder) for file in project.pipelines)
        raise UsageError(f"the project has {len(project.pipelines)} pipelines", hint=f"name one of {names}")
    if not project.pipelines or not project.pipelines[0].is_file():
        where = project.pipelines[0] if project.pipelines else project.folder / "pipeline.py"
        hint = f"make a project with `millrace init NAME`, or name your pipeline's file in {FILE}"
        raise NotFound(f"there is no pipeline {where}, and no {FILE} that names another", hint=hint)
    return project.pipelines[0]


def _project(folder: Path, file: Path | None, body: Mapping[str, Any]) -> Project:
    where = str(file or folder)
    _known(where, "", body, _TOP)
    told, ci = body.get("project", {}), body.get("ci", {})
    _known(where, "project", told, _PROJECT)
    _known(where, "ci", ci, _CI)
    targets = _targets(where, folder, body.get("targets"))
    names = [target.name for target in targets]
    train = ci.get("train", names[0])
    if train not in names:
        raise InvalidInput(f"{where}: ci.train is '{train}', which is no target", hint=did_you_mean(train, names))
    return Project(
        folder=folder,
        file=file,
        pipelines=tuple(
            folder / path for path in _texts(where, "project.pipelines", told.get("pipelines", ["pipeline.py"]))
        ),
        tests=str(told.get("tests", "pytest")),
        targets=targets,
        train=train,
        reports=folder / ci.get("reports", "ci-reports"),
        install=ci.get("install", "python -m pip install -r requirements.txt"),
        runner=ci.get("runner"),
    )


def _targets(where: str, folder: Path, given: Mapping[str, Any] | None) -> tuple[Target, ...]:
    if given is None:
        given = {name: {"approval": name == DEFAULT_TARGETS[-1]} for name in DEFAULT_TARGETS}
    if not given:
        raise InvalidInput(
            f"{where}: targets is empty", hint=f"leave it out, or name targets: {', '.join(DEFAULT_TARGETS)}"
        )
    targets = [_target(where, folder, name, body) for name, body in given.items()]
    # The last is where versions end: production, unless it says otherwise.
    last = "alias" in given[targets[-1].name]
    return (*targets[:-1], targets[-1] if last else replace(targets[-1], alias="production"))


def _target(where: str, folder: Path, name: str, body: object) -> Target:
    place = f"targets.{name}"
    if not _TARGET_NAME.fullmatch(name):
        raise InvalidInput(f"{where}: '{name}' is not a target's name", hint="use letters, digits, - and _")
    if not isinstance(body, dict):
        raise InvalidInput(f"{where}: {place} is not a table", hint=f"write [{place}] and its keys below")
    _known(where, place, body, _TARGET)
    if "home" in body and "server" in body:
        raise InvalidInput(f"{where}: {place} has both home and server", hint="a target is one or the other")
    if "server" not in body and ("token_env" in body or "certificate" in body):
        raise InvalidInput(
            f"{where}: {place} has a token or certificate and no server", hint="add server, or leave them out"
        )
    alias = body.get("alias", "staging")
    if not _TARGET_NAME.fullmatch(alias) or alias == "previous":
        raise InvalidInput(
            f"{where}: {place}.alias is '{alias}'",
            hint="write production, staging, or a name of letters, digits, - and _",
        )
    return Target(
        name=name,
        home=_path(where, f"{place}.home", folder, body.get("home")),
        server=_url(where, place, body.get("server")),
        token_env=_variable(where, place, body.get("token_env", "MILLRACE_TOKEN")),
        certificate=_path(where, f"{place}.certificate", folder, body.get("certificate")),
        approval=body.get("approval", False),
        alias=alias,
    )


def _path(where: str, place: str, folder: Path, text: str | None) -> Path | None:
    if text is None:
        return None
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # a user that there is not
        raise InvalidInput(f"{where}: {place} is '{text}': {error}", hint="write the folder in full") from error
    if not text.strip():
        raise InvalidInput(f"{where}: {place} is empty", hint="write a path, or leave it out")
    return (folder / path).absolute()


def _url(where: str, place: str, text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"https?://[^/\s@]+(/[^\s@]*)?", text):
        shown = "has a user or password in it" if "@" in text else f"is '{text}'"
        raise InvalidInput(
            f"{where}: {place}.server {shown}",
            hint="write a URL without user and password, as http://127.0.0.1:5010",
        )
    return None if text is None else text.rstrip("/")


def _variable(where: str, place: str, text: str) -> str:
    if not _VARIABLE.fullmatch(text):  # not repeated: somebody may have written the token itself
        raise InvalidInput(
            f"{where}: {place}.token_env is not the name of an environment variable",
            hint='the token itself does not belong into the file: write token_env = "MILLRACE_TOKEN"',
        )
    return text


def _known(where: str, place: str, body: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for key, value in body.items():
        dotted = f"{place}.{key}" if place else key
        if key not in kinds:
            raise InvalidInput(f"{where}: there is no key {dotted}", hint=did_you_mean(key, kinds), key=dotted)
        if type(value) is not kinds[key]:
            raise InvalidInput(
                f"{where}: {dotted} is not {_KINDS[kinds[key]]}", hint=f"write {key} = {_example(kinds[key])}"
            )


def _example(kind: type) -> str:
    return {str: '"..."', bool: "true", list: '["..."]', dict: "{ ... }"}[kind]


def _texts(where: str, place: str, values: Iterable[object]) -> tuple[str, ...]:
    found = tuple(values)
    if not found or not all(isinstance(value, str) and value for value in found):
        raise InvalidInput(f"{where}: {place} is not a list of texts", hint='write pipelines = ["pipeline.py"]')
    return cast("tuple[str, ...]", found)
