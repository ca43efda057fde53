"""A worker whose thread for models does not come back ends itself: nothing ends a thread, and the supervisor replaces the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading

from millrace.serving.models.thread import ModelThread
from millrace.serving.models.turns import Limits

# How long a call may still take after its callers were told that it took too long. Great requests to slow models come back.
_GRACE_S = 30.0
_LOOK_S = 1.0
# For what is under way to be answered and what was captured to be put away.
_END_S = 5.0
_log = logging.getLogger(__name__)


async def end_when_hung(thread: ModelThread) -> None:
    """Look after the thread that slow models share; where a call of it does not return, have this process end."""
    while True:
        await asyncio.sleep(_LOOK_S)
        lasts_s = thread.lasts_s
        if lasts_s >= Limits().answer_s + _GRACE_S:
            _log.error(
                "a model has not answered for %.0f s, and others wait for it: this worker ends, and is replaced. It is at\n%s",
                lasts_s,
                thread.where,
            )
            _end()
            await asyncio.sleep(2 * _END_S)


def _end() -> None:
    """As when told to end; by force where that takes too long: the interpreter would wait for the thread."""
    forced = threading.Timer(_END_S, os._exit, [1])
    forced.daemon = True
    forced.start()
    os.kill(os.getpid(), signal.SIGTERM)
