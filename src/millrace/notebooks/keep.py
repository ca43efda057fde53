"""The executed notebook's file: written whole, at every moment what there was after the newest cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from millrace.core.errors import InvalidState
from millrace.notebooks.ipynb import write_node
from millrace.notebooks.libraries import import_nbformat
from millrace.notebooks.read import write_whole
from millrace.notebooks.secrets import Redactor


class Keeper:
    """Writes the notebook, without secrets."""

    def __init__(self, output: Path, redactor: Redactor) -> None:
        self._output, self._redactor = output.absolute(), redactor

    def keep(self, node: Any) -> None:
        """Write it as it stands."""
        plain = json.loads(json.dumps(node))
        for cell in plain["cells"]:
            if "outputs" in cell:
                cell["outputs"] = self._redactor.inside(cell["outputs"])
        with self._writing():
            write_whole(self._output, write_node(import_nbformat().from_dict(plain)))

    @contextmanager
    def log(self) -> Iterator[IO[bytes]]:
        """Where the kernel's process writes what belongs to no cell; gone again where it wrote nothing."""
        path = self._output.with_suffix(".log")
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
        with file:
            yield file
        text = self._redactor.text(path.read_text(encoding="utf-8", errors="replace"))
        if text.strip():
            write_whole(path, text)
        else:
            path.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InvalidState(
                f"the executed notebook can't be kept in {self._output}: {error.strerror}",
                hint="choose another place with --output, or make room there",
            ) from error
