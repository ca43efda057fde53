"""Reading a pipeline from a Python file."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

from millrace.core.errors import InvalidInput, MillraceError, NotFound, UsageError
from millrace.core.names import did_you_mean
from millrace.pipeline.declare import Pipeline

MODULE = "millrace_pipeline_{}"  # the name under which a file's module is loaded, by the file's stem


def load_pipeline(path: str | Path, name: str | None = None) -> Pipeline:
    """The pipeline that a file defines: the only one, or the one of that name.

    Raises:
        NotFound: no such file, or no pipeline of that name in it.
        InvalidInput: the file does not run, or defines no pipeline; the message has the line.
        UsageError: it defines several and none was named.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFound(
            f"there is no file {file}", hint="name your pipeline's file, or make a project with `millrace init NAME`"
        )
    found = {value.name: value for value in vars(execute_file(file)).values() if isinstance(value, Pipeline)}
    if not found:
        raise InvalidInput(
            f"{file} defines no pipeline", hint="assign millrace.Pipeline(...) to a name at the top level"
        )
    if name is not None:
        if name not in found:
            raise NotFound(f"{file} has no pipeline '{name}'", hint=did_you_mean(name, found))
        return found[name]
    if len(found) > 1:
        raise UsageError(f"{file} defines {len(found)} pipelines", hint=f"name one of {', '.join(sorted(found))}")
    return next(iter(found.values()))


def execute_file(file: Path) -> object:
    """Run a Python file of the user's, beside its neighbours, and return its module.

    Raises:
        InvalidInput: it does not run; the message has the line.
    """
    name = MODULE.format(file.stem)
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{file} is not a Python file", hint="give it the ending .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except MillraceError as error:
        raise type(error)(f"{file}, line {_line(error, file)}: {error.message}", error.hint) from error
    except (Exception, SystemExit) as error:  # the adapter edge to the user's file: whatever it raises is theirs to see
        raise InvalidInput(
            f"{file}, line {_line(error, file)}: {type(error).__name__}: {error}",
            hint="the file must run by itself: try `python` on it",
        ) from error
    finally:
        sys.path.pop(0)
    return module


def _line(error: BaseException, file: Path) -> int | str:
    if isinstance(error, SyntaxError) and error.lineno:
        return error.lineno
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file.resolve()]
    return frames[-1].lineno or "?" if frames else "?"
