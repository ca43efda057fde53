"""`millrace promote` and `millrace approve`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.ci_options import ApproveAs, Junit, Markdown, ProjectPlace, Reason, Yes, consent_of
from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say
from millrace.core.errors import InvalidInput

if TYPE_CHECKING:
    from millrace.ci.types import Project, StageResult, Target

Version = Annotated[
    str, Parameter(help="MODEL, MODEL@ALIAS or MODEL/VERSION; of MODEL alone what is in staging, else the newest.")
]


def promote(
    version: Version,
    *,
    to: Annotated[str, Parameter(name="--to", help="The target that it goes to.")],
    from_: Annotated[
        str | None, Parameter(name="--from", help="The target that it comes from; the one before, by default.")
    ] = None,
    deploy: Annotated[
        bool,
        Parameter(
            name="--deploy", negative="--no-deploy", help="Put it on its endpoint there; without, only the alias moves."
        ),
    ] = True,
    approve_as: ApproveAs = None,
    reason: Reason = None,
    yes: Yes = False,
    junit: Junit = None,
    markdown: Markdown = None,
    project: ProjectPlace = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Copy a version from one target to the next, with its lineage, and serve it there. Asks for approval where the target says so."""
    from millrace.ci.homes import opened, with_home
    from millrace.ci.project import find_project, target_named
    from millrace.ci.promotion.destinations import open_destination
    from millrace.ci.promotion.promote import find_version, promote_version
    from millrace.cli.ci_results import print_result, told_in_files

    found = with_home(find_project(project), home)
    target = target_named(found, to)
    place = target_named(found, from_ or _before(found, target))
    consent = consent_of(approve_as, reason, yes=yes, json=json)

    def promoted() -> StageResult:
        with opened(place) as source:
            entry = find_version(source, version)
            with open_destination(place, target, source, entry) as destination:
                return promote_version(source, entry, place, target, destination, consent=consent, deploy=deploy)

    result = told_in_files("deploy", target.name, promoted, junit, markdown)
    print_result(result, None, json=json)
    return result.exit_code


def approve(
    model: Annotated[str, Parameter(help="The registered model.")],
    version: Annotated[str, Parameter(help="The number of the version, in the target that it comes from.")],
    *,
    to: Annotated[str, Parameter(name="--to", help="The target that it may go to.")],
    reason: Annotated[str, Parameter(name="--reason", help="Why, for the promotion log.")],
    approve_as: Annotated[str | None, Parameter(name="--approve-as", help="Who approves; you, by default.")] = None,
    from_: Annotated[
        str | None, Parameter(name="--from", help="The target that it comes from; the one that trains, by default.")
    ] = None,
    project: ProjectPlace = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Write down that a version may go to a target, for a promotion that comes later."""
    from millrace.ci.approval import approve as write_down
    from millrace.ci.homes import opened, with_home
    from millrace.ci.project import find_project, target_named
    from millrace.registry.types import ModelName, ModelVersion

    found = with_home(find_project(project), home)
    target = target_named(found, to)
    with opened(target_named(found, from_ or found.train)) as source:
        entry = source.registry.version(ModelName(model), ModelVersion(version.removeprefix("v")))
        done = write_down(source, entry, target, approve_as or source.principal.name, reason)
    if json:
        print_json({"model": model, "version": str(entry.version), "target": target.name, **asdict(done)})
    else:
        say(f"{model} v{entry.version} is approved for {target.name} by {done.by}: {done.reason}")
        if not target.approval:
            sys.stderr.write(f"note: target {target.name} asks for no approval\n")
    return 0


def _before(project: Project, target: Target) -> str:
    names = [each.name for each in project.targets]
    at = names.index(target.name)
    if at == 0:
        raise InvalidInput(
            f"{target.name} is the first target: none is before it",
            hint="say where the version comes from with --from, or another target with --to",
        )
    return names[at - 1]
