"""Hashes of what a stage depends on: values, and the code of functions."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from types import CodeType, FunctionType

# Constants whose text is the same in every process; other objects print their address.
_PLAIN = (str, bytes, int, float, Decimal, date, timedelta, tuple, list, dict, frozenset)


def fingerprint(*parts: object) -> str:
    """SHA-256 over the parts, by value; functions count by their code, and what of their module they use."""
    return hashlib.sha256("\x1f".join(_canonical(part) for part in parts).encode()).hexdigest()


def code_of(function: object) -> str:
    """The source of a function without comments and layout, with that of the functions and constants it names in its module."""
    return "\n".join(_collect(function, {}).values())


def _canonical(part: object) -> str:
    if isinstance(part, FunctionType):
        return code_of(part)
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = (f"{f.name}={_canonical(getattr(part, f.name))}" for f in dataclasses.fields(part))
        return f"{type(part).__name__}({','.join(fields)})"
    if isinstance(part, Mapping):
        return "{" + ",".join(f"{_canonical(key)}:{_canonical(part[key])}" for key in sorted(part, key=str)) + "}"
    if isinstance(part, Sequence) and not isinstance(part, str | bytes):
        return "[" + ",".join(_canonical(item) for item in part) + "]"
    return repr(part)


def _collect(function: object, seen: dict[str, str]) -> dict[str, str]:
    if not isinstance(function, FunctionType) or function.__qualname__ in seen:
        return seen
    seen[function.__qualname__] = _source(function)
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            _collect(value, seen)
        elif isinstance(value, _PLAIN):
            seen.setdefault(name, f"{name}={value!r}")
    return seen


def _names(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _source(function: FunctionType) -> str:
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, SyntaxError, IndentationError):  # typed at a prompt, or cut out of a lambda's line
        return function.__code__.co_code.hex() + repr(function.__code__.co_consts)
