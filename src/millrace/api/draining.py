"""The drain process, as control asks it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from millrace.api.channel import Gone, ask
from millrace.api.runtime import drain_channel

# A drain takes as long as it takes: where the process dies, the connection ends at once.
_LONGEST_S = 3600.0
_MOST_DEATHS, _PAUSE_S = 10, 0.2


def drain_there(sockets: Path) -> dict[str, Any]:
    """Have everything that is captured now moved into the inference tables; how much that was.

    Where the process is not there, it starts. Where it dies meanwhile its successor is asked: a drain goes on where another was killed.

    Raises:
        InvalidState: the drain failed, it does not come in half a minute, or it dies each time.
    """
    for _ in range(_MOST_DEATHS):
        with suppress(Gone):
            return ask(drain_channel(sockets), {"do": "drain"}, _LONGEST_S)
        threading.Event().wait(_PAUSE_S)
    return ask(drain_channel(sockets), {"do": "drain"}, _LONGEST_S)
