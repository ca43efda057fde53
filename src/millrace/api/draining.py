"""The drain process, as control asks it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from millrace.api.channel import Unanswered, ask
from millrace.api.runtime import drain_channel

# A drain takes as long as it takes: where the process dies, the connection ends at once.
_LONGEST_S = 3600.0
_REPLACED_S = 30.0  # how long one that died may take to be there again


def drain_there(sockets: Path) -> dict[str, Any]:
    """Have everything that is captured now moved into the inference tables; how much that was.

    Where the process dies meanwhile its successor is asked: a drain goes on where another was killed.

    Raises:
        InvalidState: the drain failed, or nobody is there to do it.
    """
    deadline = time.monotonic() + _REPLACED_S
    while True:
        try:
            return ask(drain_channel(sockets), {"do": "drain"}, _LONGEST_S)
        except Unanswered:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.1)
