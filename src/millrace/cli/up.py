"""`millrace up`: serve endpoints, the API and MLflow on one port."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say


def up(
    *,
    host: Annotated[str, Parameter(help="The address to listen at; 0.0.0.0 is all of the machine's.")] = "127.0.0.1",
    port: Annotated[int | None, Parameter(help="5010 by default; 0 takes a free one.")] = None,
    workers: Annotated[
        int | None, Parameter(help="Processes that answer requests; one for each processor by default.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        Parameter(negative="", help="A further host name that requests may be addressed to; may be repeated."),
    ] = None,
    tls_cert: Annotated[
        Path | None, Parameter(help="Speak TLS with this certificate: a PEM file, the chain after it.")
    ] = None,
    tls_key: Annotated[Path | None, Parameter(help="The certificate's key: a PEM file without a password.")] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Serve a home until Ctrl-C, for this machine alone unless --host says otherwise."""
    from millrace.api.listen import DEFAULT_PORT, is_wildcard, tls_of
    from millrace.api.logs import keep_beside
    from millrace.api.runtime import ServerInfo
    from millrace.api.supervisor import serve
    from millrace.core.log_files import open_log
    from millrace.core.processes import usable_processors
    from millrace.core.settings import Settings

    root = Settings.load(home).home

    def announce(info: ServerInfo) -> None:
        keep_beside("supervisor", open_log(root / "logs", "supervisor"))
        token = root / "token"
        if json:
            print_json({"url": info.url, "home": str(root), "token_file": str(token), "pid": info.pid})
            return
        say(f"millrace is up at {info.url}")
        say(f"  home        {root}")
        say(f"  token       in {token}; a browser asks for it once, programs send it as a bearer")
        say(f"  MLflow      {info.url}/mlflow/   (MLFLOW_TRACKING_URI={info.url} MLFLOW_TRACKING_TOKEN=$(cat {token}))")
        say(f"  endpoints   {info.url}/api/2.0/serving-endpoints")
        if is_wildcard(host) and not allow_host:
            say("  elsewhere   requests from other machines need the name they use: --allow-host NAME")
        say("Ctrl-C stops it.")

    serve(
        root,
        host=host,
        port=DEFAULT_PORT if port is None else port,
        workers=usable_processors() if workers is None else workers,
        hosts=tuple(allow_host or ()),
        tls=tls_of(tls_cert, tls_key),
        announce=announce,
    )
    return 0
