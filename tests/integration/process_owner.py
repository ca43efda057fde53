"""A program that opens a model in a process of its own, says its number, and is then busy: `process_owner HOME MODEL`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from millrace.serving.inputs import Inputs
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.processes.open import make_environments, open_predictor
from millrace.serving.types import LoadPlan, ServedEntity

if __name__ == "__main__":
    home, folder, amount = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    entity = ServedEntity("prices", "prices", "1")
    plan = LoadPlan(entity, folder, "python_function", (("amount", "double"),), None)
    make_environments([plan], Environments.of(home))
    model = open_predictor(plan, Environments.of(home), 60.0)
    sys.stdout.write(f"{getattr(model, 'pid', None)}\n")
    sys.stdout.flush()
    model.predict(Inputs(np.array([[amount]])))
