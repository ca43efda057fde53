"""The drain process, as control asks it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from millrace.api.channel import Gone, ask
from millrace.api.runtime import drain_channel

# A drain takes as long as it takes: where the process dies, the connection ends at once.
_LONGEST_S = 3600.0
_MOST_DEATHS = 10
_REPLACED_S, _LOOK_S = 30.0, 0.1  # how long nobody may be there, not even a door, and how often that is looked at


def drain_there(sockets: Path) -> dict[str, Any]:
    """Have everything that is captured now moved into the inference tables; how much that was.

    Where the process is not there, it starts. Where it dies meanwhile its successor is asked: a drain goes on where another was killed.

    Raises:
        InvalidState: the drain failed, nobody comes to do it, or it dies each time.
    """
    alone_s, deaths = 0.0, 0
    while True:
        began = time.monotonic()
        try:
            return ask(drain_channel(sockets), {"do": "drain"}, _LONGEST_S)
        except Gone:
            # One that was there and died has a successor soon: only the time without anybody counts.
            was_there = time.monotonic() - began >= _LOOK_S
            alone_s, deaths = (0.0, deaths + 1) if was_there else (alone_s + _LOOK_S, deaths)
            if alone_s > _REPLACED_S or deaths > _MOST_DEATHS:
                raise
            threading.Event().wait(_LOOK_S)
