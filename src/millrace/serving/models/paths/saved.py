"""Model objects out of MLflow folders without MLflow."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.serving.models.paths.path import Unsuitable


def load_saved(path: Path, details: Mapping[str, object]) -> Any:
    """The object in the file, by the format that the flavor names: skops, pickle or cloudpickle.

    A pickle runs code when it is loaded. The registry gives out folders of the home's own store only, and `read_model_folder`
    those from which nothing leads out: what is in there is trusted like the rest of the home.
    """
    kind = details.get("serialization_format") or ("skops" if path.suffix == ".skops" else "cloudpickle")
    if kind == "skops":
        from skops.io import load  # type: ignore[import-untyped,unused-ignore]

        trusted = details.get("skops_trusted_types")
        return load(path, trusted=list(trusted) if isinstance(trusted, list) else [])
    if kind in {"cloudpickle", "pickle"}:
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 - see above
    raise Unsuitable(f"its format {kind} is unknown")
