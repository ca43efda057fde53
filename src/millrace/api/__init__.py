"""One port: endpoints, REST, MLflow; a supervisor, workers, a control process."""

from __future__ import annotations
