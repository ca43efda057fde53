"""The control process: REST, MLflow and pages behind the workers, at a local socket that only they reach.

It is there while somebody asks it, while an endpoint is being changed, and while a canary is under way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.access.types import ANONYMOUS, CALLER, Caller
from millrace.api import asgi_server, lifeline, rest
from millrace.api.attendance import Attendance
from millrace.api.auth import home_token
from millrace.api.callers import HEADER, from_header
from millrace.api.deployments import Deployments
from millrace.api.errors import body_of, status_of
from millrace.api.guard import OPEN
from millrace.api.label_routes import LabelRoutes
from millrace.api.mlflow_mount import MlflowMount, is_mlflow_path
from millrace.api.options import ChildOptions
from millrace.api.promotion_routes import PromotionRoutes
from millrace.api.rest import ENDPOINTS, OWN_ENDPOINTS
from millrace.api.status import Status
from millrace.api.tokens import TokenRoutes
from millrace.api.workers import Workers
from millrace.core.clock import SystemClock
from millrace.core.errors import MillraceError, PermissionDenied
from millrace.serving.models.processes.environments import Environments
from millrace.workspace import Workspace, open_workspace

_BY_RIGHT = (ENDPOINTS + "/", OWN_ENDPOINTS)
# Much longer than the workers keep a connection that nobody uses: none of them finds us gone in the middle of one.
_IDLE_S = 120.0


class ControlApp:
    """MLflow's paths to MLflow, all others to our routes.

    Who asks is in a header that only the workers' proxy sets. The paths of endpoints look at the caller's rights
    themselves; all others, also those that are added one day, are the owner's, but for the few that are open to all.
    """

    def __init__(self, own: ASGIApp, mlflow: MlflowMount) -> None:
        self._own, self._mlflow = own, mlflow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, caller = scope["path"], _caller(scope)
        if not (caller.is_owner or path in OPEN or path == ENDPOINTS or path.startswith(_BY_RIGHT)):
            error = PermissionDenied(f"{caller.name} may not open {path}", hint="this takes the home's own token")
            await JSONResponse(body_of(error), status_of(error.error_code))(scope, receive, send)
            return
        scope[CALLER] = caller
        theirs = path == "/mlflow" or path.startswith("/mlflow/") or (path != "/" and is_mlflow_path(path))
        await (self._mlflow if theirs else self._own)(scope, receive, send)


def _caller(scope: Scope) -> Caller:
    """As the proxy says; nobody where it does not."""
    sent = [value for name, value in scope["headers"] if name == HEADER]
    return from_header(sent[0]) if len(sent) == 1 else ANONYMOUS


def build(workspace: Workspace, workers: Workers, mlflow: MlflowMount, url: str) -> tuple[ASGIApp, Callable[[], bool]]:
    """The application of a control process, with interrupted updates of an earlier one ended; and whether it has nothing to do."""
    environments = Environments.of(workspace.home)
    deployments = Deployments(workspace.endpoints, workspace.catalog, workspace.clock, workers, environments)
    deployments.recover()
    # Beside: workers that are just starting answer only when they have loaded what the store says.
    threading.Thread(target=deployments.keep_agreed, args=(threading.Event(),), name="agree", daemon=True).start()
    threading.Thread(target=deployments.equip, name="equip", daemon=True).start()
    api = rest.Rest(workspace, deployments, Status(workspace, workers, deployments, mlflow), mlflow, url)
    if not workspace.clock.is_virtual:
        looks = (api.drain_now, threading.Event())
        threading.Thread(target=api.canaries.run, args=looks, name="canaries", daemon=True).start()
    tokens = TokenRoutes(workspace.tokens, SystemClock(), workspace.principal)
    labels = LabelRoutes(workspace, api.drain_now)
    own = Starlette(
        routes=[*api.routes, *tokens.routes, *labels.routes, *PromotionRoutes(workspace).routes],
        exception_handlers={
            MillraceError: rest.expected_failure,
            HTTPException: rest.http_failure,
            Exception: rest.bug,
        },
    )
    return ControlApp(own, mlflow), lambda: deployments.is_at_rest and not api.canaries.are_under_way


def attended(app: ASGIApp, attendance: Attendance) -> ASGIApp:
    """The application, each of whose requests is noted."""

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        with attendance.asked():
            await app(scope, receive, send)

    return noted


async def main(options: ChildOptions) -> None:
    """Serve until SIGTERM, the end of the lifeline, or nobody needs it. MLflow is imported when it is first needed."""
    lifeline.hold(options.lifeline_fd)
    home, sockets = Path(options.home), Path(options.sockets)
    workspace = open_workspace(home)
    mlflow = MlflowMount(workspace.settings, home_token(home))
    app, at_rest = build(workspace, Workers(sockets, options.workers), mlflow, options.url)
    attendance = Attendance(at_rest, _IDLE_S)
    try:
        await asgi_server.serve(attended(app, attendance), listener=options.listener, attendance=attendance)
    finally:
        workspace.close()


if __name__ == "__main__":
    asgi_server.run("control", main(ChildOptions.read()))
