"""A thread that does not come back counts where others wait for it, and not where a single call takes its time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from millrace.serving.models.turns import Limits
from tests.unit.serving.lanes import Adding, MakeScene, answered, told

LONG_S = 1.0


def test_a_long_call_that_nobody_waits_behind_may_go_on(make_scene: MakeScene) -> None:
    scene, slow, other = make_scene(limits=Limits(answer_s=2 * LONG_S)), Adding(quick_rows=0), Adding(quick_rows=0)
    scene.serve("slow", slow)
    patient: Any = scene.serve("other", other).first.model
    slow.gate.clear()

    async def story() -> None:
        first = scene.ask("slow", 1.0)
        await answered(first)
        assert first.status == 504
        until = time.monotonic() + 60
        while scene._thread.lasts_s < LONG_S:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        assert scene.hot.stuck(LONG_S) is None
        # Who asks the same model waits for its turn, who asks another one for the thread.
        for name in ("slow", "other"):
            waits = scene.ask(name, 2.0)
            for _ in range(5):
                await asyncio.sleep(0)
            stuck = scene.hot.stuck(LONG_S)
            assert stuck is not None
            assert "in predict" in stuck.where
            assert scene.hot.stuck(3600) is None
            await answered(waits)
            assert waits.status == 504
            assert scene.hot.stuck(LONG_S) is None
        slow.gate.set()
        patient._limits = Limits()  # from here on a busy machine has its time
        last = scene.ask("other", 3.0)
        await answered(last)
        assert last.status == 200
        assert scene.hot.stuck(0.0) is None

    told(story)
