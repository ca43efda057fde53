"""Small models, registered in a home."""

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


def register_boosted(workspace: Workspace, answer: int) -> None:
    """A version of `MODEL`, trees of XGBoost, that gives `ROW` this answer, from 0 to 2; it is served by ONNX."""
    import pandas as pd
    from mlflow.models import infer_signature
    from xgboost import XGBClassifier

    rows = pd.DataFrame({"spend": [1.0, 2.0, 3.0, 11.0, 12.0, 13.0], "visits": [1.0, 0.0, 5.0] * 2})
    others = [each for each in range(3) if each != answer]
    model = XGBClassifier(n_estimators=20, min_child_weight=0, n_jobs=1).fit(rows, [*others, others[0], *[answer] * 3])
    run = workspace.tracking.start("churn", f"boosted-{answer}", {})
    to_log = ModelToLog(model, "xgboost", infer_signature(rows, model.predict(rows)), requirements=("xgboost-cpu",))
    uri = workspace.tracking.log_model(run, "model", to_log)
    workspace.tracking.finish(run)
    workspace.registry.register(ModelName(MODEL), uri, run, {})


def register_linear(workspace: Workspace) -> None:
    """A version of `MODEL` that answers 1 where `x` is positive, else 0; it is served by ONNX alone."""
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"x": [-3.0, -2.0, 2.0, 3.0]})
    model = LogisticRegression().fit(rows, [0, 0, 1, 1])
    run = workspace.tracking.start("churn", "linear", {})
    to_log = ModelToLog(model, "sklearn", infer_signature(rows, model.predict(rows)), requirements=("scikit-learn",))
    uri = workspace.tracking.log_model(run, "model", to_log)
    workspace.tracking.finish(run)
    workspace.registry.register(ModelName(MODEL), uri, run, {})
