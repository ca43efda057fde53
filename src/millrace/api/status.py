"""How a server stands: what is up, what it serves, what waits to be drained."""

from __future__ import annotations

from millrace.api.deployments import Deployments
from millrace.api.mlflow_mount import MlflowMount
from millrace.api.workers import Workers
from millrace.core.clock import iso
from millrace.serving.capture.held import ASIDE, Held
from millrace.serving.capture.segments import sealed
from millrace.serving.types import Endpoint
from millrace.workspace import Workspace


class Status:
    """Reads the server's state from its parts. Thread-safe."""

    def __init__(self, workspace: Workspace, workers: Workers, deployments: Deployments, mlflow: MlflowMount) -> None:
        self.workers = workers
        self._workspace, self._deployments, self._mlflow = workspace, deployments, mlflow

    def read(self) -> dict[str, object]:
        """Everything, as JSON."""
        clock, capture = self._workspace.clock, self._workspace.capture_root
        return {
            "home": str(self._workspace.home),
            "now": iso(clock.now()),
            "virtual_time": clock.is_virtual,
            "mlflow": {"loaded": self._mlflow.is_loaded, "path": "/mlflow/"},
            "workers": self.workers.status(),
            "endpoints": [_endpoint(endpoint) for endpoint in self._deployments.list()],
            "capture": {
                "segments_waiting": len(sealed(capture)),
                "parts_held": len(Held(capture).parts()),
                "files_aside": sum(1 for _ in capture.glob("*" + ASIDE)),
            },
        }


def _endpoint(endpoint: Endpoint) -> dict[str, object]:
    return {
        "name": endpoint.name,
        "ready": endpoint.state.ready,
        "config_update": endpoint.state.config_update,
        "message": endpoint.state.message,
        "generation": endpoint.generation,
        "traffic": dict(endpoint.config.traffic),
        "paths": dict(endpoint.state.paths),
        "asleep": list(endpoint.state.asleep),
    }
