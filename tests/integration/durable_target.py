"""A place that serves models, without a server: what is deployed is in a file, as durable as an endpoint's row is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.spec import from_json
from millrace.registry.types import ModelName, ModelVersion
from millrace.targets.types import Answers, DeploymentSpec, DeploymentStatus
from millrace.training.models import feature_spec_of, load_native, predict_proba
from millrace.workspace import Workspace


@dataclass(frozen=True)
class DurableTarget:
    """Deploying and asking, which is all that a pipeline without a canary does."""

    workspace: Workspace

    @property
    def file(self) -> Path:
        return self.workspace.home / "deployed.json"

    def deployed(self) -> dict[str, str]:
        """Endpoint to version."""
        found: dict[str, str] = json.loads(self.file.read_text()) if self.file.exists() else {}
        return found

    def deploy(self, spec: DeploymentSpec) -> DeploymentStatus:
        self._keep({**self.deployed(), spec.endpoint: spec.version})
        return DeploymentStatus(spec.endpoint, "ready", spec.version)

    def remove(self, endpoint: str) -> None:
        self._keep({name: version for name, version in self.deployed().items() if name != endpoint})

    def _keep(self, state: dict[str, str]) -> None:
        aside = self.file.with_suffix(".new")
        aside.write_text(json.dumps(state))
        aside.replace(self.file)

    def status(self, endpoint: str) -> DeploymentStatus | None:
        version = self.deployed().get(endpoint)
        return None if version is None else DeploymentStatus(endpoint, "ready", version)

    def query(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> Answers:
        version, workspace = self.deployed()[endpoint], self.workspace
        folder = workspace.registry.download(ModelName("ml.models.shop"), ModelVersion(version))
        spec = from_json(feature_spec_of(folder) or "")
        now = workspace.clock.now()
        times = pa.array([now] * len(records), pa.timestamp("us", "UTC"))
        asked = pa.table({"customer_id": [record["customer_id"] for record in records], "label_time": times})
        rows = augment(workspace.lake, workspace.asof, spec, asked, as_of=now)
        chances = tuple(float(one) for one in predict_proba(load_native(folder), model_frame(rows, spec.inputs)))
        return Answers(tuple(chances), chances, version, "a request")
