"""`millrace up`: serve endpoints, the API and MLflow on one port."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say


def up(
    *,
    port: Annotated[int | None, Parameter(help="5010 by default; 0 takes a free one.")] = None,
    workers: Annotated[int, Parameter(help="Processes that answer requests.")] = 1,
    allow_host: Annotated[
        list[str] | None,
        Parameter(negative="", help="A further host name that requests may be addressed to; may be repeated."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Serve a home on 127.0.0.1 until Ctrl-C."""
    from millrace.api.runtime import ServerInfo
    from millrace.api.supervisor import DEFAULT_PORT, serve
    from millrace.core.settings import Settings

    root = Settings.load(home).home

    def announce(info: ServerInfo) -> None:
        token = root / "token"
        if json:
            print_json({"url": info.url, "home": str(root), "token_file": str(token), "pid": info.pid})
            return
        say(f"millrace is up at {info.url}")
        say(f"  home        {root}")
        say(f"  token       in {token}; a browser asks for it once, programs send it as a bearer")
        say(f"  MLflow      {info.url}/mlflow/   (MLFLOW_TRACKING_URI={info.url} MLFLOW_TRACKING_TOKEN=$(cat {token}))")
        say(f"  endpoints   {info.url}/api/2.0/serving-endpoints")
        say("Ctrl-C stops it.")

    serve(
        root,
        port=DEFAULT_PORT if port is None else port,
        workers=workers,
        hosts=tuple(allow_host or ()),
        announce=announce,
    )
    return 0
