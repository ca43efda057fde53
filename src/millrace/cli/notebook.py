"""`millrace notebook`: JupyterLab over a home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say


def notebook(
    path: Annotated[Path, Parameter(help="A folder, or a notebook.")] = Path(),
    *,
    port: Annotated[int | None, Parameter(help="8888 by default, or the next that is free; 0 takes any.")] = None,
    browser: Annotated[bool, Parameter(help="Open a browser.")] = True,
    home: Home = None,
    json: Json = False,
) -> int:
    """Open JupyterLab until Ctrl-C, for this machine alone. Every notebook has spark, dbutils and display."""
    from millrace.notebooks.lab import LabInfo, serve_lab
    from millrace.workspace import open_workspace

    workspace = open_workspace(home)
    settings = workspace.settings
    workspace.close()

    def announce(info: LabInfo) -> None:
        if json:
            print_json(
                {"url": info.url, "token_file": str(info.token_file), "pid": info.pid, "home": str(settings.home)}
            )
            return
        say(f"JupyterLab is up at {info.url_with_token}")
        say(f"  home   {settings.home}")
        say("Ctrl-C stops it, and the kernels.")

    return serve_lab(settings, path, port=port, browser=browser and not json, announce=announce)
