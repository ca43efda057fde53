"""A model that always answers the same, registered in a home."""

from __future__ import annotations

from pathlib import Path

from millrace.registry.types import ModelName
from millrace.tracking.types import ModelToLog
from millrace.workspace import Workspace

MODEL = "ml.models.churn"
ROW = {"spend": 12.5, "visits": 3.0}


def register_constant(workspace: Workspace, answer: int) -> Path:
    """A new version of `MODEL`; the folder of its files."""
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.dummy import DummyClassifier

    rows = pd.DataFrame({"spend": [1.0, 2.0, 3.0], "visits": [1.0, 0.0, 5.0]})
    model = DummyClassifier(strategy="constant", constant=answer).fit(rows, [0, 1, answer])
    run = workspace.tracking.start("churn", f"constant-{answer}", {})
    signature = infer_signature(rows, model.predict(rows))
    uri = workspace.tracking.log_model(
        run, "model", ModelToLog(model, "sklearn", signature, requirements=("scikit-learn",))
    )
    workspace.tracking.log_text(run, "how it was made", "notes.txt")
    workspace.tracking.finish(run)
    entry = workspace.registry.register(ModelName(MODEL), uri, run, {})
    return workspace.registry.download(entry.model, entry.version)
