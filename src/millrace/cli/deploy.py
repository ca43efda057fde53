"""`millrace deploy`: a version onto an endpoint, or to a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.ci_options import ApproveAs, Junit, Markdown, ProjectPlace, Reason, TargetName, Yes, consent_of
from millrace.cli.options import Home, Json

if TYPE_CHECKING:
    from millrace.ci.types import StageResult


def deploy(
    model: Annotated[
        str, Parameter(help="The registered model; MODEL@ALIAS or MODEL/VERSION where no version follows.")
    ],
    version: Annotated[str | None, Parameter(help="The number of the version.")] = None,
    *,
    to: Annotated[str, Parameter(name="--to", help="A target of millrace.toml, or an endpoint.")],
    target: TargetName = None,
    approve_as: ApproveAs = None,
    reason: Reason = None,
    yes: Yes = False,
    junit: Junit = None,
    markdown: Markdown = None,
    project: ProjectPlace = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Put a version on an endpoint of its home, or bring it to another target. Exit code 0 serves, 1 failed, 3 refused or not approved."""
    from millrace.ci.homes import opened, with_home
    from millrace.ci.project import choose_target, find_project, target_named
    from millrace.ci.promotion.destinations import open_destination
    from millrace.ci.promotion.endpoint import deploy_to_endpoint
    from millrace.ci.promotion.promote import find_version, promote_version
    from millrace.cli.ci_results import print_result, told_in_files
    from millrace.workspace import open_target

    found = with_home(find_project(project), home)
    place = choose_target(found, target, found.train)
    consent = consent_of(approve_as, reason, yes=yes, json=json)

    def deployed() -> StageResult:
        with opened(place) as source:
            entry = find_version(source, f"{model}/{version}" if version else model)
            if not any(each.name == to for each in found.targets):
                return deploy_to_endpoint(source, entry, found, place, to, lambda: open_target(source), consent)
            goal = target_named(found, to)
            with open_destination(place, goal, source, entry) as destination:
                return promote_version(source, entry, place, goal, destination, consent=consent)

    result = told_in_files("deploy", to, deployed, junit, markdown)
    print_result(result, None, json=json)
    return result.exit_code
