"""Notices, while it runs, which files and hosts the pipeline's Python code reads: what is not in the lake can't be cut or changed.

It hears what Python itself opens. Libraries that open files in other languages are told by the code alone (`around`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace.pipeline.audit.findings import Finding

_ENDINGS = (
    ".csv .tsv .parquet .json .jsonl .ndjson .feather .arrow .orc .avro .xlsx .xls .pkl .pickle .npy .npz .db .sqlite .txt "
    ".gz .zst .h5"
)
_DATA = frozenset(_ENDINGS.split())
_HOSTS_HERE = frozenset({"127.0.0.1", "::1", "localhost", "0.0.0.0", ""})  # noqa: S104 - compared, not bound


class Watch:
    """A context manager; between its entry and exit it listens, in the whole process. It can't be taken out again, only be idle."""

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()
        self._files: set[str] = set()
        self._hosts: set[str] = set()
        self._listens = False
        sys.addaudithook(self._hear)

    def __enter__(self) -> Self:
        self._listens = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listens = False

    def findings(self) -> list[Finding]:
        """A warning for each data file and host."""
        files = [path for path in sorted(self._files) if self._is_outside(Path(path))]
        hint = "import it as a table of the lake with its time, and take it as a Source"
        return [
            Finding(
                "around the lake", "warning", path, "the pipeline read this file, which the audit can't change", hint
            )
            for path in files
        ] + [
            Finding(
                "around the lake",
                "warning",
                host,
                "the pipeline connected to this host, whose answers can't be cut",
                hint,
            )
            for host in sorted(self._hosts)
        ]

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        # Called for everything that happens in the process: what is not for us must cost nothing.
        if not self._listens:
            return
        if event == "open" and isinstance(arguments[0], str):
            if arguments[0][arguments[0].rfind(".") :].lower() in _DATA:
                self._files.add(arguments[0])
        elif event == "socket.connect" and isinstance(arguments[1], tuple) and str(arguments[1][0]) not in _HOSTS_HERE:
            self._hosts.add(str(arguments[1][0]))

    def _is_outside(self, path: Path) -> bool:
        place = path.resolve()
        return (
            not any(
                place.is_relative_to(root)
                for root in (self._home, Path(sys.prefix).resolve(), Path(sys.base_prefix), Path("/proc"), Path("/sys"))
            )
            and "site-packages" not in place.parts
        )
