"""`help()`, as each part of `dbutils` has it."""

from __future__ import annotations

import inspect
import sys


class Helped:
    """Prints what it can do."""

    def help(self) -> None:
        """Print the methods, a line each."""
        for name, method in inspect.getmembers(self, inspect.ismethod):
            if not name.startswith("_") and name not in {"help", "give", "unread", "redactor"}:
                says = (method.__doc__ or "").split("\n")[0]
                sys.stdout.write(f"{name}{inspect.signature(method)}\n    {says}\n")
