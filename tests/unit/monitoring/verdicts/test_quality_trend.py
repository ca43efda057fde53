from __future__ import annotations

import numpy as np

from millrace.monitoring.verdicts.quality import judge_quality
from tests.unit.monitoring.verdicts.test_drift import SPEC, days_of, referenced


def test_what_grows_may_leave_its_range_and_what_does_not_grow_may_not() -> None:
    rng = np.random.default_rng(9)
    calm = [list(rng.normal(size=100)) for _ in range(60)]
    profiles = referenced({"age": [list(rng.normal(n, 1, 100)) for n in range(60)], "x": calm})
    columns = {one.name: one for one in profiles}
    older = days_of({"age": [list(rng.normal(90, 1, 200))], "x": [list(rng.normal(size=200))]}, profiles)
    assert judge_quality(SPEC, "1", older, columns)[0].status == "ok"
    broken = days_of({"age": [list(rng.normal(90, 1, 200))], "x": [list(rng.normal(50, 1, 200))]}, profiles)
    (found,) = judge_quality(SPEC, "1", broken, columns)
    assert (found.status, found.columns) == ("broken", ("x",))
