"""Where a running server keeps what its processes share: the address file and the local sockets."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from millrace.core.errors import InvalidState
from millrace.targets.local_server import ADDRESS, ServerInfo, read_info

__all__ = [
    "ServerInfo",
    "control_socket",
    "drain_channel",
    "read_info",
    "remove_info",
    "remove_sockets",
    "scheduler_door",
    "socket_folder",
    "worker_channel",
    "write_info",
]

# A unix socket's path is limited to 107 bytes; this leaves room for the longest name in the folder.
_LONGEST_FOLDER = 85


def write_info(home: Path, info: ServerInfo) -> None:
    """Publish the server's address, in one step: a reader sees the whole file or none."""
    target = home / ADDRESS
    draft = target.with_suffix(f".{info.pid}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(info), file)
    draft.replace(target)


def remove_info(home: Path, instance: str) -> None:
    """Take the address away if it is still ours."""
    info = read_info(home)
    if info is not None and info.instance == instance:
        (home / ADDRESS).unlink(missing_ok=True)


def socket_folder(home: Path) -> Path:
    """The folder of the server's local sockets, private to the user, made where missing.

    It is `run/` in the home; where that path is too long for a unix socket, a folder under the system's temporary
    directory whose name is derived from the home.

    Raises:
        InvalidState: the folder belongs to somebody else.
    """
    folder = home / "run"
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        import tempfile

        folder = Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or folder.is_symlink():
        raise InvalidState(f"{folder} belongs to somebody else", hint="remove it, or use a home with a shorter path")
    folder.chmod(0o700)
    return folder


def control_socket(folder: Path) -> Path:
    """Where the control process takes HTTP from the workers."""
    return folder / "control.sock"


def drain_channel(folder: Path) -> Path:
    """Where the drain process takes commands from the control process."""
    return folder / "drain.sock"


def scheduler_door(folder: Path) -> Path:
    """Where workers knock when there is something for the scheduler."""
    return folder / "scheduler.sock"


def worker_channel(folder: Path, slot: int) -> Path:
    """Where the worker in a slot takes commands from the control process."""
    return folder / f"worker-{slot}.sock"


def remove_sockets(folder: Path) -> None:
    """Remove what a server left in its socket folder, and the folder."""
    for path in folder.glob("*.sock"):
        path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
