"""A worker whose threads don't come back while others wait ends itself: nothing ends a thread, and the supervisor replaces the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading

from millrace.serving.requests.hot import HotApp

# How long a call may still take after its callers were told that it took too long. Great requests to slow models come back.
_GRACE_S = 30.0
_LOOK_S = 1.0
# For what is under way to be answered and what was captured to be put away.
_END_S = 5.0
_log = logging.getLogger(__name__)


async def end_when_hung(hot: HotApp, grace_s: float = _GRACE_S) -> None:
    """Look after the threads that models and lookups run in; where none of them returns, and others wait, have this process end.

    A call that nobody waits behind may take as long as it does.
    """
    while True:
        await asyncio.sleep(_LOOK_S)
        stuck = hot.stuck(hot.limits.answer_s + grace_s)
        if stuck is not None:
            _log.error(
                "a model or a function has not answered for %.0f s, and others wait for it: this worker ends, and is replaced. "
                "It is at\n%s",
                stuck.lasts_s,
                stuck.where,
            )
            _end()
            await asyncio.sleep(2 * _END_S)


def _end() -> None:
    """As when told to end; by force where that takes too long: the interpreter would wait for the thread."""
    forced = threading.Timer(_END_S, os._exit, [1])
    forced.daemon = True
    forced.start()
    os.kill(os.getpid(), signal.SIGTERM)
