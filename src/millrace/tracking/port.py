"""What the loop needs from an experiment tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from millrace.tracking.types import ModelToLog, RunId, RunInfo


class Tracking(Protocol):
    """Runs in experiments. Process-safe.

    A run with an idempotency key is found again by it: `start` with the key of an unfinished or finished run returns
    that run, so that a crash between two steps never makes a second one.
    """

    def start(self, experiment: str, name: str, tags: Mapping[str, str], key: str | None = None) -> RunId:
        """Open a run (the experiment is made where missing)."""
        ...

    def log(
        self,
        run: RunId,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add to a run. Long parameter values are cut to what the store takes; metrics that are not finite are left out."""
        ...

    def log_text(self, run: RunId, text: str, path: str) -> None:
        """Keep a text with the run as an artifact."""
        ...

    def read_text(self, run: RunId, path: str) -> str:
        """A text that was kept with the run; NotFound where there is none."""
        ...

    def where(self, run: RunId, path: str) -> str:
        """Where an artifact of the run is: a path of this machine where it is kept there, else a URI."""
        ...

    def log_model(self, run: RunId, name: str, model: ModelToLog) -> str:
        """Store the model with the run and return its URI (`models:/m-...`)."""
        ...

    def logged_model(self, run: RunId, name: str) -> str | None:
        """The URI of the model that was stored whole with the run under a name; None where there is none."""
        ...

    def add_model(self, run: RunId, name: str, folder: Path) -> str:
        """Store a model's folder with the run as it is, byte for byte, and return its URI; it is there whole, or never loaded."""
        ...

    def copy_files(self, run: RunId, into: Path) -> None:
        """Copy all that is kept with the run, without its models, into an empty folder."""
        ...

    def add_files(self, run: RunId, folder: Path) -> None:
        """Keep all files of a folder with the run; those of the same path are replaced."""
        ...

    def finish(self, run: RunId, *, failed: bool = False) -> None: ...

    def get(self, run: RunId) -> RunInfo: ...

    def find(self, experiment: str, key: str) -> RunInfo | None:
        """The run that was started under this idempotency key."""
        ...

    def list(self, experiment: str, limit: int = 100) -> Sequence[RunInfo]:
        """Newest first; empty for an unknown experiment."""
        ...
