"""A Python function as text that is complete in itself, with the types that its annotations name."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import hashlib
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from types import CodeType, FunctionType

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.features.types import FunctionDefinition, Parameter, ScalarType

_TYPES: Mapping[object, ScalarType] = {
    float: "float",
    int: "int",
    str: "str",
    bool: "bool",
    date: "date",
    datetime: "datetime",
    Decimal: "Decimal",
}
# Names that annotations may use where the module imports them for type checkers only.
_KNOWN = {"date": date, "datetime": datetime, "Decimal": Decimal, "Optional": typing.Optional}
_WANTED = f"annotate with one of {', '.join(_TYPES.values())}, each may be `| None`"
_DECORATOR = "feature_function"


def define(name: str, function: object) -> FunctionDefinition:
    """Read a function's source and annotations.

    Raises:
        InvalidInput: it is no plain function, its source can't be found, it uses names from outside itself, or its
            annotations are missing or of other types.
    """
    name = function_name(name)
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        kind = "lambda" if isinstance(function, FunctionType) else type(function).__name__
        raise InvalidInput(
            f"function {name}: a {kind} is not a Python function", hint="write it with def, one value per parameter"
        )
    tree, source = _source(name, function)
    _check_kind(name, function)
    _check_self_contained(name, function, source)
    parameters, returns, returns_null = _signature(name, function)
    return FunctionDefinition(
        name=name,
        entry=tree.name,
        source=source,
        parameters=parameters,
        returns=returns,
        returns_null=returns_null,
        code_hash=_hash(source, parameters, returns, returns_null=returns_null),
    )


def function_name(name: str) -> str:
    """The short form of a function's name.

    Raises:
        InvalidInput: it is not one to three parts of letters, digits, `_` and `-`.
    """
    try:
        return str(TableName.parse(name))
    except InvalidInput as error:
        raise InvalidInput(
            f"'{name}' is not a function name", hint="write it as a table's: ml.functions.days_between", name=name
        ) from error


@lru_cache(maxsize=1024)
def load(source: str, entry: str, name: str) -> FunctionType:
    """The function that the source defines, in a namespace of its own; made once per process."""
    namespace: dict[str, object] = {"__name__": f"millrace function {name}"}
    exec(_compiled(source, name), namespace)  # noqa: S102 - the code is the user's own, from the home or the model
    made = namespace[entry]
    assert isinstance(made, FunctionType)  # noqa: S101 - `define` took one def
    return made


def _compiled(source: str, name: str) -> CodeType:
    # Annotations are not evaluated: what they name may not be there, and `define` has read them.
    flags = __future__.annotations.compiler_flag
    code: CodeType = compile(source, f"<{name}>", "exec", flags=flags, dont_inherit=True)
    return code


def _source(name: str, function: FunctionType) -> tuple[ast.FunctionDef, str]:
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError) as error:
        raise InvalidInput(
            f"the source of function {name} can't be found", hint="define it in a file or a notebook cell"
        ) from error
    if not isinstance(tree, ast.FunctionDef):
        raise InvalidInput(f"function {name} is not a plain def", hint="leave async out")
    for decorator in tree.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(called).rpartition(".")[2] != _DECORATOR:
            raise InvalidInput(
                f"function {name} has a decorator '{ast.unparse(called)}'", hint="do in its body what that would do"
            )
    lines = text.splitlines()[tree.lineno - 1 : tree.end_lineno]
    return tree, "\n".join(lines) + "\n"


def _check_kind(name: str, function: FunctionType) -> None:
    around = [free for free in function.__code__.co_freevars if free != function.__name__]  # it may call itself
    if around:
        names = ", ".join(f"'{free}'" for free in around)
        raise InvalidInput(
            f"function {name} uses {names} of the function around it",
            hint="make it a parameter, or write its value into the body",
        )
    if inspect.isgeneratorfunction(function):
        raise InvalidInput(f"function {name} is a generator", hint="return one value")


def _check_self_contained(name: str, function: FunctionType, source: str) -> None:
    whole = _compiled(source, name)
    missing = []
    for used, is_written in _globals_of(whole):
        if is_written:
            raise InvalidInput(f"function {name} changes the global '{used}'", hint="return a value, keep none")
        replaced = used in function.__globals__ and function.__globals__[used] is not getattr(builtins, used, None)
        if used != function.__name__ and (not hasattr(builtins, used) or replaced):
            missing.append(used)
    if missing:
        names = ", ".join(f"'{used}'" for used in dict.fromkeys(missing))
        raise InvalidInput(
            f"function {name} uses {names} from outside itself",
            hint="import modules inside its body, and write constants and other functions there",
            names=list(dict.fromkeys(missing)),
        )


def _globals_of(code: CodeType) -> Iterator[tuple[str, bool]]:
    """Names that the code takes from its module, and whether it writes them."""
    steps = list(dis.get_instructions(code))
    own = {step.argval for step in steps if step.opname == "STORE_NAME"} | {"__name__"}  # what a class body makes
    for step in steps:
        if step.opname == "LOAD_GLOBAL" or (step.opname == "LOAD_NAME" and step.argval not in own):
            yield str(step.argval), False
        elif step.opname in {"STORE_GLOBAL", "DELETE_GLOBAL"}:
            yield str(step.argval), True
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _signature(name: str, function: FunctionType) -> tuple[tuple[Parameter, ...], ScalarType, bool]:
    hints = _hints(name, function)
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            raise InvalidInput(
                f"function {name}: parameter '{parameter.name}' is not a plain one", hint="leave *, / and ** out"
            )
        kind, nullable = _scalar(f"parameter '{parameter.name}' of function {name}", hints.get(parameter.name))
        parameters.append(Parameter(parameter.name, kind, nullable, parameter.default is inspect.Parameter.empty))
    if not parameters:
        raise InvalidInput(f"function {name} has no parameters", hint="a feature is computed from columns")
    returns, returns_null = _scalar(f"the result of function {name}", hints.get("return"))
    return tuple(parameters), returns, returns_null


def _hints(name: str, function: FunctionType) -> Mapping[str, object]:
    try:
        return typing.get_type_hints(function, {**_KNOWN, **function.__globals__})
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise InvalidInput(f"the annotations of function {name} can't be read: {error}", hint=_WANTED) from error


def _scalar(what: str, hint: object) -> tuple[ScalarType, bool]:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) or _is_union(hint) else (hint,)
    kinds = [option for option in options if option is not type(None)]
    if hint is None or len(kinds) != 1 or kinds[0] not in _TYPES:
        said = "has no annotation" if hint is None else f"is annotated {inspect.formatannotation(hint)}"
        raise InvalidInput(f"{what} {said}", hint=_WANTED)
    return _TYPES[kinds[0]], len(options) > 1


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) is typing.Union


def _hash(source: str, parameters: tuple[Parameter, ...], returns: str, *, returns_null: bool) -> str:
    code = ast.dump(ast.parse(source))
    return hashlib.sha256(repr((code, parameters, returns, returns_null)).encode()).hexdigest()
