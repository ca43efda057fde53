"""`millrace features publish` and `online`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import duration, print_json, print_table, say
from millrace.cli.progress import progress

if TYPE_CHECKING:
    from millrace.features.online.freshness import OnlineFreshness
    from millrace.features.online.publish import Published, PublishMode

_Mode = Annotated[
    Literal["snapshot", "triggered"],
    Parameter(
        name="--mode", help="Write all keys (snapshot), or those that changed since the last publish (triggered)."
    ),
]


def publish(name: str, *, mode: _Mode = "triggered", home: Home = None, json: Json = False) -> int:
    """Bring the online store up to date with a feature table, as of now."""
    from millrace.features.online.publish import publish_table
    from millrace.workspace import require_home

    workspace = require_home(home)
    try:
        with progress() as shown:
            shown.stage(f"publish {name}", "running")
            done = publish_table(
                workspace.lake,
                workspace.online,
                name,
                as_of=workspace.clock.now(),
                mode=cast("PublishMode", mode.upper()),
                told=lambda keys, total: shown.advance(f"publish {name}", keys, total),
            )
            shown.stage(f"publish {name}", "done", f"{done.written:,} keys written")
    finally:
        workspace.close()
    if json:
        print_json(_published(done))
    else:
        say(_told(done))
    return 0


def online(*, home: Home = None, json: Json = False) -> int:
    """List what is online, and how fresh it is."""
    from millrace.features.online.freshness import online_freshness
    from millrace.workspace import require_home

    workspace = require_home(home)
    try:
        found = online_freshness(workspace.online, workspace.lake, workspace.clock)
    finally:
        workspace.close()
    if json:
        print_json({"online_tables": [_facts(table) for table in found]})
    elif found:
        print_table(
            ["online table", "keys", "newest", "age", "published", "version", "behind"],
            [
                (
                    str(t.name),
                    t.keys,
                    t.newest,
                    None if t.age is None else duration(t.age),
                    t.published_at,
                    int(t.version),
                    _behind(t.behind),
                )
                for t in found
            ],
        )
    else:
        say("nothing is online yet: millrace features publish TABLE")
    return 0


def _published(done: Published) -> dict[str, Any]:
    return {
        "name": str(done.table.name),
        "mode": done.mode,
        "why": done.why or None,
        "keys": done.table.keys,
        "written": done.written,
        "removed": done.removed,
        "version": int(done.table.version),
        "published_at": done.table.published_at,
    }


def _told(done: Published) -> str:
    table = done.table
    at = f"{table.name} version {table.version} is online with {table.keys:,} keys: "
    if done.mode == "TRIGGERED":
        return f"{at}{done.written:,} written, {done.removed or 0:,} removed"
    return f"{at}all written" + (f", because {done.why}" if done.why else "")


def _facts(table: OnlineFreshness) -> dict[str, Any]:
    return {
        "name": str(table.name),
        "keys": table.keys,
        "newest": table.newest,
        "age_s": None if table.age is None else table.age.total_seconds(),
        "published_at": table.published_at,
        "version": int(table.version),
        "versions_behind": table.behind,
        "waiting_since": table.waiting_since,
    }


def _behind(versions: int | None) -> str:
    if versions is None:
        return "its table is gone"
    return "up to date" if versions == 0 else f"{versions} version{'s' if versions > 1 else ''}"
