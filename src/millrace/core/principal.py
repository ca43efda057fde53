"""Who does something."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a program, as it is written into logs: `user:ada`, `system:retrain`."""

    kind: str
    name: str

    def __str__(self) -> str:
        """`kind:name`."""
        return f"{self.kind}:{self.name}"


def current_user() -> Principal:
    """The person at the keyboard; `user:unknown` where the machine can't tell."""
    try:
        return Principal("user", getpass.getuser())
    except (KeyError, OSError):
        return Principal("user", os.environ.get("USER", "unknown"))


def system(name: str) -> Principal:
    """A part of millrace acting by itself, as `system("retrain")`."""
    return Principal("system", name)
