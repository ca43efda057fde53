"""`millrace token`: make, list, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from millrace.access.types import Rights, Token

app = App(name="token", help="Make, list and revoke tokens for programs, with rights per endpoint.")

Right = Literal["query", "manage"]


@app.command
def create(
    name: str,
    *,
    query: Annotated[
        list[str] | None, Parameter(negative="", help="An endpoint that it may ask for answers; may be repeated.")
    ] = None,
    manage: Annotated[
        list[str] | None,
        Parameter(negative="", help="An endpoint that it may make, change and delete as well; may be repeated."),
    ] = None,
    all_endpoints: Annotated[
        list[Right] | None,
        Parameter(negative="", help="A right on all endpoints, also on those that come later: query or manage."),
    ] = None,
    expires: Annotated[
        str | None, Parameter(help="When it ends: 90d, 12h, 30m, 2w, or a time. Never by default.")
    ] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Make a token and print its secret: this once, as only a digest is kept."""
    from millrace.access.issue import issue
    from millrace.access.show import as_json
    from millrace.access.types import EVERY, Rights
    from millrace.core.clock import SystemClock
    from millrace.core.names import did_you_mean
    from millrace.workspace import require_home

    everywhere = all_endpoints or []
    rights = Rights(
        frozenset([*(query or []), *([EVERY] if "query" in everywhere else [])]),
        frozenset([*(manage or []), *([EVERY] if "manage" in everywhere else [])]),
    )
    workspace = require_home(home)
    try:
        token, secret = issue(
            workspace.tokens, SystemClock(), workspace.principal, name, rights=rights, expires=expires
        )
        endpoints = [endpoint.name for endpoint in workspace.endpoints.list()]
    finally:
        workspace.close()
    if json:
        print_json({**as_json(token), "token": secret})
        return 0
    print_facts({"token": secret, "name": token.name, **_rights(token.rights), "expires": _end(token)})
    for absent in sorted((rights.query | rights.manage) - {EVERY, *endpoints}):
        say(f"There is no endpoint {absent} yet ({did_you_mean(absent, endpoints)}).")
    say("Keep the secret now: it can't be shown again. Programs send it as 'Authorization: Bearer TOKEN'.")
    return 0


@app.command(name="list")
def list_(
    *,
    revoked: Annotated[bool, Parameter(negative="", help="Those that were revoked, too.")] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """List the tokens and what they may do. The home's own, in its file `token`, is not among them."""
    from millrace.access.show import as_json
    from millrace.core.clock import SystemClock
    from millrace.workspace import require_home

    workspace = require_home(home)
    try:
        found = workspace.tokens.list(revoked=revoked)
    finally:
        workspace.close()
    if json:
        print_json({"tokens": [as_json(token) for token in found]})
    elif found:
        now = SystemClock().now()
        rows = [
            [each.name, each.standing(now), *_rights(each.rights).values(), each.owner, each.created_at, _end(each)]
            for each in found
        ]
        print_table(["token", "", "may query", "may manage", "made by", "made", "expires"], rows)
    else:
        say("there are no tokens but the home's own; make one: millrace token create NAME --query ENDPOINT")
    return 0


@app.command
def revoke(name: str, *, home: Home = None, json: Json = False) -> int:
    """End a token, within two seconds on a running server. Its name is free for another one."""
    from millrace.access.show import as_json
    from millrace.access.types import TokenName
    from millrace.core.clock import SystemClock
    from millrace.workspace import require_home

    workspace = require_home(home)
    try:
        token = workspace.tokens.revoke(TokenName(name), SystemClock().now())
    finally:
        workspace.close()
    if json:
        print_json(as_json(token))
    else:
        say(f"token {token.name} is revoked")
    return 0


def _rights(rights: Rights) -> dict[str, object]:
    return {"may query": _shown(rights.query), "may manage": _shown(rights.manage)}


def _end(token: Token) -> object:
    return token.expires_at or "never"


def _shown(endpoints: frozenset[str]) -> str | None:
    from millrace.access.types import EVERY

    return "all endpoints" if EVERY in endpoints else ", ".join(sorted(endpoints)) or None
