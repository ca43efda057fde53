"""Ray Serve's application, run by the Python of its own environment: `serving_ray.py PORT`. The model's file is in BENCH_MODEL."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 1})
class Model:
    """One replica."""

    def __init__(self) -> None:
        from xgboost import XGBClassifier

        self._model = XGBClassifier()
        self._model.load_model(os.environ["BENCH_MODEL"])
        self._model.set_params(n_jobs=1)

    async def __call__(self, request: Request) -> list[int]:
        """A label for each row of the body, a JSON list of lists."""
        labels: list[int] = self._model.predict(np.asarray(await request.json())).tolist()
        return labels


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Model.bind())
    signal.pause()
