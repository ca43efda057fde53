"""Hashes of what a stage depends on: values, and the code of functions."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, NoneType, SimpleNamespace

# Values that are the same text in every process; other objects print their address.
_SCALARS = (str, bytes, int, float, Decimal, date, timedelta, NoneType, Enum, re.Pattern)
_DEEPEST = 6  # into lists of lists, which may hold themselves


def fingerprint(*parts: object) -> str:
    """SHA-256 over the parts, by value; functions count by their code, and what of their module they use."""
    return hashlib.sha256("\x1f".join(_canonical(part) for part in parts).encode()).hexdigest()


def code_of(function: object) -> str:
    """The source of a function without comments and layout, with what it uses of its project.

    That is the functions, classes and constants that it names, in its own module and in modules beside it or below, and the
    values that it has bound: defaults, and what a function around it gave it. Libraries count by name only, and so do
    objects whose value can't be told (an open file, a frame).
    """
    found: dict[int, str] = {}
    _collect(function, found)
    return "\n".join(found.values())


def _canonical(part: object) -> str:
    if callable(part) and not isinstance(part, type) and (code := _of_callable(part)) is not None:
        return code
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        # A field that two of a kind are not compared by, as when something runs, makes no other work either.
        compared = [f for f in dataclasses.fields(part) if f.compare]
        fields = (f"{f.name}={_canonical(getattr(part, f.name))}" for f in compared)
        return f"{type(part).__name__}({','.join(fields)})"
    if isinstance(part, Mapping):
        return "{" + ",".join(f"{_canonical(key)}:{_canonical(part[key])}" for key in sorted(part, key=str)) + "}"
    if isinstance(part, AbstractSet):  # its own order differs from process to process
        return "<" + ",".join(sorted(_canonical(item) for item in part)) + ">"
    if isinstance(part, Sequence) and not isinstance(part, str | bytes):
        return "[" + ",".join(_canonical(item) for item in part) + "]"
    return repr(part)


def _of_callable(part: object) -> str | None:
    """The code of what can be called and what it has bound; None where its value says more (a dataclass), or all that there is."""
    if isinstance(part, FunctionType):
        return code_of(part)
    if isinstance(part, partial):
        return f"partial({_canonical(part.func)},{_canonical(part.args)},{_canonical(part.keywords)})"
    if isinstance(part, MethodType):
        return f"{code_of(part.__func__)} of {_canonical(part.__self__)}"
    if (inner := getattr(part, "__wrapped__", None)) is not None:
        return _canonical(inner)
    if type(part).__repr__ is object.__repr__:  # it would print its address
        bound = (
            {name: value for name, value in vars(part).items() if _is_plain(value)} if hasattr(part, "__dict__") else {}
        )
        return f"{type(part).__qualname__}({_canonical(bound)}) {code_of(type(part).__call__)}"
    return None


def _collect(function: object, found: dict[int, str]) -> None:
    if not isinstance(function, FunctionType) or id(function) in found:
        return
    found[id(function)] = _source(function)
    texts = [f"{name}={text}" for name, value in _used(function) for text in _told(value, function, found)]
    found[id(function)] += "".join(f"\n{text}" for text in dict.fromkeys(texts))


def _told(value: object, user: FunctionType, found: dict[int, str], depth: int = 0) -> Iterator[str]:
    """What a value says that a function uses; the code that it leads to is collected."""
    if isinstance(value, FunctionType) and _same_project(value, user):
        _collect(value, found)
    elif isinstance(value, type):
        if _same_project(value, user):
            _collect_class(value, user, found)
    elif _is_plain(value):
        yield _canonical(value)
    elif isinstance(value, Mapping | list | tuple | SimpleNamespace | partial) and depth < _DEEPEST:
        for name, inner in _parts(value):
            yield from (f"{name}:{text}" for text in _told(inner, user, found, depth + 1))
    elif (inner := getattr(value, "__wrapped__", None)) is not None and depth < _DEEPEST:  # cached, or a UDF
        yield from _told(inner, user, found, depth + 1)
    elif _same_project(type(value), user):
        _collect_class(type(value), user, found)
        yield _canonical({name: own for name, own in getattr(value, "__dict__", {}).items() if _is_plain(own)})


def _parts(
    value: Mapping[object, object] | Sequence[object] | SimpleNamespace | partial[object],
) -> list[tuple[object, object]]:
    if isinstance(value, partial):
        return [("function", value.func), ("arguments", value.args), ("keywords", value.keywords)]
    if isinstance(value, SimpleNamespace):
        return list(vars(value).items())
    return list(value.items() if isinstance(value, Mapping) else enumerate(value))


def _collect_class(kind: type, user: FunctionType, found: dict[int, str]) -> None:
    if id(kind) in found:
        return
    found[id(kind)] = kind.__qualname__
    members = {name: member.value for name, member in kind.__members__.items()} if issubclass(kind, Enum) else {}
    texts = []
    for name, value in sorted((vars(kind) | members).items()):
        own = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        own = own.fget if isinstance(own, property) else own
        if isinstance(own, FunctionType) or not name.startswith("_"):
            texts += [f"{name}={text}" for text in _told(own, user, found)]
    found[id(kind)] += "".join(f"\n{text}" for text in texts)
    for base in kind.__mro__[1:]:
        if _same_project(base, user):
            _collect_class(base, user, found)


def _used(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Names and values: of its module and the modules that it names, of the function around it, and its defaults."""
    names = _names(function.__code__)
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            if _same_project(value, function):
                yield from ((f"{name}.{inner}", vars(value)[inner]) for inner in names if inner in vars(value))
        elif name in function.__globals__:
            yield name, value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, _content(cell)
    yield "defaults", list(function.__defaults__ or ())
    yield "keywords", dict(function.__kwdefaults__ or {})


def _names(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a name that the function around it has not bound yet
        return None


def _is_plain(value: object) -> bool:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(_is_plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return all(_is_plain(key) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple | AbstractSet):
        return all(_is_plain(inner) for inner in value)
    return isinstance(value, _SCALARS) or _is_expression(value)


def _is_expression(value: object) -> bool:
    """Whether a value of PySpark prints all that it is: a column, a window, a type."""
    module, name = type(value).__module__, type(value).__name__
    return module == "pyspark.sql.types" or (module.startswith("pyspark.sql.") and name in {"Column", "WindowSpec"})


def _same_project(value: FunctionType | ModuleType | type, function: FunctionType) -> bool:
    """Whether something is written in the function's module, or in a module beside it or below that nobody installed."""
    module = value.__name__ if isinstance(value, ModuleType) else value.__module__
    if isinstance(value, FunctionType):
        # By its own file: what a library wraps around a function bears that function's module.
        file: str | None = value.__code__.co_filename
        if file == function.__code__.co_filename:
            return True
    else:
        if module == function.__module__:
            return True
        # What is built into Python has no file.
        file = getattr(value if isinstance(value, ModuleType) else sys.modules.get(module), "__file__", None)
    folder = Path(function.__code__.co_filename).resolve().parent
    if file is None or str(module).partition(".")[0] in sys.stdlib_module_names:
        return False
    path = Path(file).resolve()
    return path.is_relative_to(folder) and "site-packages" not in path.relative_to(folder).parts


def _source(function: FunctionType) -> str:
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function.__code__))))
    except (OSError, SyntaxError, IndentationError):  # typed at a prompt, or cut out of a lambda's line
        return function.__code__.co_code.hex() + _constants(function.__code__)


def _constants(code: CodeType) -> str:
    return _canonical(
        [
            (constant.co_code.hex(), _constants(constant)) if isinstance(constant, CodeType) else constant
            for constant in code.co_consts
        ]
    )
