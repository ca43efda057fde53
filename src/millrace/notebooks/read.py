"""Reading and writing notebooks by the kind of their file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import did_you_mean
from millrace.notebooks.ipynb import parse_ipynb, render_ipynb
from millrace.notebooks.source_format import HEADER, is_source_format, parse_source, render_source
from millrace.notebooks.types import Notebook

ENDINGS = (".py", ".ipynb")


def find_notebook(name: str, folder: Path) -> Path:
    """The file that a path in a notebook means: relative to the folder, with or without its ending.

    Raises:
        NotFound: there is no such file.
    """
    path = (folder / name).resolve()
    for candidate in (path, *(path.with_name(path.name + ending) for ending in ENDINGS)):
        if candidate.is_file():
            return candidate
    there = [
        each.name if path.suffix in ENDINGS else each.stem
        for each in sorted(path.parent.glob("*"))
        if each.suffix in ENDINGS
    ]
    hint = did_you_mean(path.name, there) if there else f"there are no notebooks in {path.parent}"
    raise NotFound(f"there is no notebook {path}", hint=hint, path=str(path))


def read_notebook(path: Path) -> Notebook:
    """The notebook in a file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no notebook.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", hint="check the path", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise _no_notebook(path, "it is not text") from error
    except OSError as error:
        raise _no_notebook(path, str(error.strerror).lower()) from error
    if path.suffix == ".ipynb":
        try:
            return parse_ipynb(text)
        except InvalidInput as error:
            raise InvalidInput(f"{path} can't be read: {error.message}", hint=error.hint, path=str(path)) from error
    if path.suffix == ".py" and is_source_format(text):
        return parse_source(text)
    if path.suffix == ".py":
        raise InvalidInput(
            f"{path} is a Python program, not a notebook",
            hint=f"run it with python, or make its first line `{HEADER}`",
            path=str(path),
        )
    raise _no_notebook(path, f"its name ends in '{path.suffix}'")


def write_notebook(notebook: Notebook, path: Path) -> None:
    """Write a notebook, as its name's ending says; the file is there whole, or as it was.

    Raises:
        InvalidInput: another ending than `.ipynb` and `.py`, or what source format can't hold.
    """
    if path.suffix not in ENDINGS:
        raise _no_notebook(path, f"its name ends in '{path.suffix}'")
    write_whole(path, render_ipynb(notebook) if path.suffix == ".ipynb" else render_source(notebook))


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader sees all of it, or what was there before. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _no_notebook(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"{path} is no notebook: {why}", hint=f"give an .ipynb, or a .py that begins with `{HEADER}`", path=str(path)
    )
