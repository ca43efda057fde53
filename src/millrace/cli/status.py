"""`millrace status`: where the loop stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.cli.options import Home, Json
from millrace.cli.output import print_facts, print_json, print_table, say
from millrace.core.errors import InvalidState, MillraceError

if TYPE_CHECKING:
    from millrace.workspace import Workspace


def status(*, home: Home = None, json: Json = False) -> int:
    """Tell where the loop stands: time, server, production versions, endpoints, pipelines, alerts, retraining."""
    from millrace.workspace import require_home

    workspace = require_home(home)
    facts = _facts(workspace)
    if json:
        print_json(facts)
        return 0
    clock = f"{workspace.clock.now():%Y-%m-%d %H:%M} UTC{', virtual' if workspace.clock.is_virtual else ''}"
    print_facts({"home": str(workspace.home), "time": clock, "server": _server_text(facts)})
    _print("production", ["model", "version", "since", "why"], facts["production"])
    _print("endpoints", ["endpoint", "serves", "ready", "last change"], facts["endpoints"])
    _print("online features", ["table", "keys", "newest", "published"], facts["online"])
    _print("pipelines", ["pipeline", "file", "last run", "ended", "retraining"], facts["pipelines"])
    _print(
        "alert episodes", ["rule", "kind", "about", "status", "began", "opened", "closed", "reason"], facts["episodes"]
    )
    return 0


def _server_text(facts: Mapping[str, object]) -> object:
    return facts["server"] or facts["server_error"] or "not running (millrace up)"


def _server(home: Path) -> tuple[str | None, Mapping[str, str], str | None]:
    """Where the server is, what it can't answer and why; or why it does not tell: one wants to see the rest, then above all."""
    from millrace.api.discovery import find_server, not_answered

    try:
        server, lacking = find_server(home), not_answered(home)
    except InvalidState as error:
        return None, {}, error.message
    return server.url if server else None, lacking, None


def _facts(workspace: Workspace) -> dict[str, object]:
    server, lacking, error = _server(workspace.home)
    return {
        "home": str(workspace.home),
        "time": workspace.clock.now(),
        "virtual": workspace.clock.is_virtual,
        "server": server,
        "server_error": error,
        "production": _production(workspace),
        "endpoints": [
            {
                "name": endpoint.name,
                "serves": ", ".join(str(entity) for entity in endpoint.config.served),
                "ready": endpoint.state.ready and endpoint.name not in lacking and error is None,
                "config_update": endpoint.state.config_update,
            }
            for endpoint in workspace.endpoints.list()
        ],
        "online": [
            {"table": str(t.name), "keys": t.keys, "newest": _time(t.newest_us), "published_at": t.published_at}
            for t in workspace.online.tables()
        ],
        "pipelines": [_pipeline(workspace, name, Path(file)) for name, file in _pipelines(workspace).items()],
        "episodes": [
            {
                "rule": e.rule,
                "kind": e.kind,
                "subject": e.subject,
                "status": e.status,
                "began_at": e.began_at,
                "opened_at": e.opened_at,
                "closed_at": e.closed_at,
                "reason": e.reason,
            }
            for e in workspace.episodes.list(limit=10)
        ],
    }


def _production(workspace: Workspace) -> list[dict[str, object]]:
    newest = {p.model: p for p in workspace.promotions.read() if p.alias == "production"}
    return [{"model": p.model, "version": p.version, "since": p.at, "why": p.why} for p in newest.values()]


def _pipeline(workspace: Workspace, name: str, file: Path) -> dict[str, object]:
    last = workspace.runs.runs(name, limit=1)
    return {
        "name": name,
        "file": str(file),
        "last_run": last[0].status if last else None,
        "ended_at": last[0].ended_at if last else None,
        "retraining": _retraining(workspace, name, file),
    }


def _retraining(workspace: Workspace, name: str, file: Path) -> str:
    from millrace.cli.pages import load_page
    from millrace.pipeline.plan import last_due
    from millrace.pipeline.retrain import decide

    try:
        pipeline = load_page(file, name, workspace.home)
        decision = decide(workspace, pipeline, last_due(pipeline, workspace.clock.now()))
    except MillraceError as error:
        return f"unknown: {error.message}"
    return f"{decision.state}: {decision.reason}"


def _pipelines(workspace: Workspace) -> dict[str, str]:
    known = workspace.home_settings.get("pipelines")
    return {str(name): str(file) for name, file in known.items()} if isinstance(known, dict) else {}


def _time(microseconds: int | None) -> object:
    from millrace.core.clock import from_epoch_us

    return None if microseconds is None else from_epoch_us(microseconds)


def _print(title: str, columns: list[str], rows: object) -> None:
    if isinstance(rows, list) and rows:
        print_table(columns, [list(row.values()) for row in rows], title=title)
    else:
        say(f"no {title}")
