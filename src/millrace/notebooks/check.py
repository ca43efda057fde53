"""What is looked at before anything of a notebook runs: its languages, and the notebooks that it includes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.core.errors import InvalidInput
from millrace.notebooks.read import ENDINGS, find_notebook, read_notebook
from millrace.notebooks.source_format import is_python
from millrace.notebooks.types import Cell, Notebook

_INSTALLS = "install packages beforehand, into the environment that millrace runs in: a notebook that does so is another program the next day"
_REFUSED = {
    "scala": "rewrite the cell in Python or SQL: there is no JVM here",
    "r": "rewrite the cell in Python or SQL: there is no R here",
    "sh": "use Python's subprocess, or dbutils.fs for files",
    "bash": "use Python's subprocess, or dbutils.fs for files",
    "pip": _INSTALLS,
    "conda": _INSTALLS,
    "mamba": _INSTALLS,
    "uv": _INSTALLS,
}
_LINES = ("pip", "conda", "mamba", "uv")  # also refused as a line among others


@dataclass(frozen=True, slots=True)
class Include:
    """A `%run`: which notebook, and values for its widgets."""

    name: str
    parameters: Mapping[str, str]


def check_notebook(path: Path, notebook: Notebook, chain: tuple[Path, ...] = ()) -> None:
    """Refuse what can't run, in the notebook and in all that it includes.

    Raises:
        InvalidInput: another language, `%pip`, a notebook that includes itself, a `%run` that can't be read.
        NotFound: an included notebook is not there.
    """
    chain = (*chain, path.resolve())
    for number, cell in enumerate(notebook.cells, 1):
        where = f"{path.name}: cell {number}{f' ({cell.title})' if cell.title else ''}"
        _check_language(cell, where, number)
        for include in includes(cell):
            found = _found(include, path.parent, where, number)
            if found.resolve() in chain:
                names = " -> ".join(each.name for each in (*chain[chain.index(found.resolve()) :], found))
                raise InvalidInput(
                    f"{where} runs a notebook inside itself: {names}", hint="take the %run out", cell=number
                )
            if found.suffix == ".ipynb" or is_notebook(found):
                check_notebook(found, read_notebook(found), chain)


def includes(cell: Cell) -> Iterator[Include]:
    """The notebooks that a cell runs in its place."""
    if cell.magic == "run":
        yield parse_include(cell.source.strip().split("\n", 1)[0].split(None, 1)[-1].removeprefix("%run"))


def parse_include(line: str) -> Include:
    """What stands behind `%run`: a path, and `$name="value"`.

    Raises:
        InvalidInput: no path, or something else than that.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidInput(f"%run {line} can't be read: {error}", hint="close the quotes") from error
    if not words:
        raise InvalidInput("%run names no notebook", hint='write %run ./other, or %run ./other $day="monday"')
    pairs = [word.partition("=") for word in words[1:]]
    wrong = next((word for word, pair in zip(words[1:], pairs, strict=True) if word[0] != "$" or not pair[1]), None)
    if wrong is not None:
        raise InvalidInput(f"%run {line}: '{wrong}' is no parameter", hint='write $name="value"')
    return Include(words[0], {name[1:].strip(): value for name, _, value in pairs})


def is_notebook(path: Path) -> bool:
    """Whether a file is a notebook, and not a program that IPython's own `%run` would take."""
    from millrace.notebooks.source_format import is_source_format

    return path.suffix == ".ipynb" or (
        path.suffix == ".py" and is_source_format(path.read_text(encoding="utf-8", errors="replace"))
    )


def _found(include: Include, folder: Path, where: str, number: int) -> Path:
    from millrace.core.errors import NotFound

    try:
        return find_notebook(include.name, folder)
    except NotFound as error:
        raise NotFound(f"{where} runs {include.name}: {error.message}", hint=error.hint, cell=number) from error


def _check_language(cell: Cell, where: str, number: int) -> None:
    if cell.kind != "code":
        return
    word = (cell.magic or "").lstrip("%")
    if word in _REFUSED:
        raise InvalidInput(f"{where} is %{word}, which can't run here", hint=_REFUSED[word], cell=number)
    line = next((line for line in cell.source.split("\n") if _installs(line)), None)
    if line is not None and not is_python(cell.source):
        raise InvalidInput(f"{where} installs packages: {line.strip()}", hint=_INSTALLS, cell=number)


def _installs(line: str) -> bool:
    words = line.strip().split()
    return bool(words) and words[0][0] in "%!" and words[0].lstrip("%!") in _LINES


__all__ = ["ENDINGS", "Include", "check_notebook", "includes", "is_notebook", "parse_include"]
