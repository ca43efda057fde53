"""Cells that are no Python: `%sql`, `%md`, `%python`, `%run`, `%fs`; and what is made when a cell first speaks of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from millrace.core.errors import InvalidInput, NotFound
from millrace.notebooks.check import check_notebook, is_notebook, parse_include
from millrace.notebooks.kernel.sql_text import parameters_of, statements
from millrace.notebooks.names.dbutils import Dbutils
from millrace.notebooks.names.display import display
from millrace.notebooks.read import find_notebook, read_notebook
from millrace.notebooks.types import Cell

_OURS = ("sql", "md", "md-sandbox", "python", "run", "fs", "raw", "scala", "r", "sh", "pip", "conda")
_FIRST = re.compile(rf"\s*%({'|'.join(_OURS)})(?=\s|$)")
_SPARK = re.compile(r"\bspark\b|SparkSession|%sql|%run", re.IGNORECASE)


class IncludedCellFailed(Exception):
    """A cell of a notebook that `%run` runs has failed; its own error is shown above."""

    def _render_traceback_(self) -> list[str]:
        """IPython's way to show an error in one's own words."""
        return [str(self)]


class Cells:
    """The shell's ways with cells, for one kernel."""

    def __init__(self, shell: Any, dbutils: Dbutils) -> None:
        self._shell, self._dbutils = shell, dbutils
        path = dbutils.context.path
        self._running = [Path(path)] if path else []
        self.failed_inside = ""

    def install(self) -> None:
        """Let the shell know our cells."""
        self._shell.input_transformers_cleanup.insert(0, self.transform)
        self._shell.events.register("pre_run_cell", lambda info: self.prepare(info.raw_cell))
        self._shell.register_magic_function(self.run_cell, "cell", "millrace")

    def transform(self, lines: list[str]) -> list[str]:
        """A cell in another language, as a call that IPython knows; all other cells as they are."""
        source = "".join(lines)
        found = _FIRST.match(source)
        if found is None:
            return lines
        rest = source[found.end() :]
        if found[1] == "python":
            return ["\n" * source[: found.end()].count("\n") + rest.removeprefix(" ")]
        return [f"%%millrace {found[1]}\n", rest if rest.endswith("\n") else rest + "\n"]

    def prepare(self, source: str) -> None:
        """Open the session, where a cell speaks of it: that takes seconds that other notebooks can do without."""
        names = self._shell.user_ns
        if names.get("spark") is None and _SPARK.search(source):
            from millrace.workspace import spark

            names["spark"] = spark(home=self._dbutils.context.home)

    def run_cell(self, line: str, cell: str) -> None:
        """`%%millrace KIND`: run a cell that is no Python."""
        match line.strip():
            case "sql":
                self._sql(cell)
            case "md" | "md-sandbox":
                from IPython.display import Markdown
                from IPython.display import display as show

                show(Markdown(cell))
            case "run":
                self._run(cell.strip())
            case "fs":
                self._fs(cell)
            case "raw":
                pass
            case other:
                from millrace.notebooks.types import Notebook

                check_notebook(Path("cell"), Notebook([Cell("code", f"%{other}\n{cell}")]))

    def _sql(self, text: str) -> None:
        found = statements(text)
        if not found:
            raise InvalidInput("the cell has no SQL", hint="write a statement below %sql")
        names = self._shell.user_ns
        for statement in found:
            arguments = {name: self._dbutils.widgets.get(name) for name in parameters_of(statement)}
            names["_sqldf"] = names["spark"].sql(statement, args=arguments or None)
        display(names["_sqldf"])

    def _run(self, line: str) -> None:
        include = parse_include(line)
        folder = self._running[-1].parent if self._running else Path.cwd()
        path = find_notebook(include.name, folder)
        if not is_notebook(path):
            self._shell.run_line_magic("run", line)
            return
        if path in self._running:
            raise InvalidInput(f"{path.name} runs itself", hint="take the %run out")
        notebook = read_notebook(path)
        check_notebook(path, notebook, tuple(each.resolve() for each in self._running))
        self._dbutils.widgets.give(include.parameters)
        self._running.append(path)
        try:
            for number, cell in enumerate(notebook.cells, 1):
                self._run_one(path, number, cell)
        finally:
            self._running.pop()

    def _run_one(self, path: Path, number: int, cell: Cell) -> None:
        if cell.kind != "code" or not cell.source.strip():
            return
        self.failed_inside = ""
        result = self._shell.run_cell(cell.source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is None:
            return
        if not isinstance(error, Exception):  # an exit, an interrupt
            raise error
        title = f" ({cell.title})" if cell.title else ""
        where = f"cell {number}{title} of {path.name}"
        said = str(error) if isinstance(error, IncludedCellFailed) else f"{type(error).__name__}: {error}"
        raise IncludedCellFailed(f"{where}: {said}") from error

    def _fs(self, line: str) -> None:
        words = shlex.split(line)
        allowed: Sequence[str] = ("ls", "head", "cp", "mv", "rm", "mkdirs")
        if not words or words[0] not in allowed:
            raise NotFound(f"%fs {line.strip()} is no command", hint=f"there is: {', '.join(allowed)}")
        flags = {word for word in words if word in {"-r", "--recurse"}}
        arguments = [word for word in words[1:] if word not in flags]
        extra = {"recurse": True} if flags else {}
        value = getattr(self._dbutils.fs, words[0])(*arguments, **extra)
        display(value)
