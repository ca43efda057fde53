"""What the supervisor tells a child process: one JSON object on its command line."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """How a child is to run.

    Attributes:
        home: the home directory, absolute.
        sockets: folder of the local sockets.
        instance: random text of this start of the server.
        url: where the server is reached.
        workers: how many workers there are.
        lifeline_fd: reading end of the pipe that ends when the supervisor does; None for a process on its own.
        slot: which worker this is, from 0; the others have 0.
        listen_fd: the listening socket, inherited: a worker's is that of the server, that of any other its door.
        hosts: names beside the loopback ones that the Host header may carry.
        restarts: how often the process was replaced before.
        tls_certificate, tls_key: PEM files, absolute; None for plain HTTP.
    """

    home: str
    sockets: str
    instance: str
    url: str
    workers: int = 1
    lifeline_fd: int | None = None
    slot: int = 0
    listen_fd: int | None = None
    hosts: tuple[str, ...] = ()
    restarts: int = 0
    tls_certificate: str | None = None
    tls_key: str | None = None

    @property
    def listener(self) -> socket.socket:
        """The listening socket, inherited; a copy, which may be closed."""
        assert self.listen_fd is not None  # noqa: S101 - the supervisor gives it
        return socket.socket(fileno=os.dup(self.listen_fd))

    def text(self) -> str:
        """As one command line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, argv: list[str] | None = None) -> ChildOptions:
        """From this process's command line."""
        document = json.loads((sys.argv if argv is None else argv)[1])
        return cls(**{**document, "hosts": tuple(document["hosts"])})
