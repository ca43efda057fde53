"""Feature functions at work: bound to columns, checked once, and called a row at a time by one object on every path."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.features.functions import source as function_source
from millrace.features.functions.values import (
    Reader,
    checked,
    column_values,
    result_type,
    stored_type,
    takes,
    value_reader,
)
from millrace.features.types import BoundFunction, FeatureFunction, FunctionVersion, Parameter

if TYPE_CHECKING:
    import pyarrow as pa

FunctionFinder: TypeAlias = Callable[[str], FunctionVersion]

_ROWS = 65_536  # at a time, so that a long column is never whole in Python


@dataclass(frozen=True, slots=True)
class CompiledFunction:
    """A bound function, ready to be called. Thread-safe as far as the function itself is."""

    bound: BoundFunction
    columns: tuple[str, ...]
    _function: Callable[..., object]
    _readers: tuple[Reader, ...]
    _nullable: tuple[bool, ...]
    _in_order: bool

    @classmethod
    def of(cls, bound: BoundFunction) -> CompiledFunction:
        """Compile the source, once per process, and prepare the reading of the columns."""
        definition = bound.function
        given = tuple(each for each in definition.parameters if each.name in bound.bindings)
        return cls(
            bound=bound,
            columns=tuple(bound.bindings[each.name] for each in given),
            _function=function_source.load(definition.source, definition.entry, definition.name),
            _readers=tuple(value_reader(bound.bindings[each.name], bound.types[each.name], each) for each in given),
            _nullable=tuple(each.nullable for each in given),
            _in_order=given == definition.parameters[: len(given)],
        )

    def call(self, values: Sequence[object], row: int) -> object:
        """The function's result for one row; `values` are stored or sent, in the order of `columns`.

        A null for a parameter that takes none makes the result null without a call.

        Raises:
            InvalidInput: a value is not of its column's type, the function failed, or its result is of another type.
        """
        return self._compute([read(value) for read, value in zip(self._readers, values, strict=True)], row)

    def column(self, table: pa.Table) -> pa.ChunkedArray:
        """The function's column for a table that has `columns`: `call` on each row, counted from 0."""
        import pyarrow as pa

        kind = result_type(self.bound.function.returns)
        chunks = []
        for start in range(0, len(table), _ROWS):
            part = table.slice(start, _ROWS)
            given = [
                column_values(part.column(name), read) for name, read in zip(self.columns, self._readers, strict=True)
            ]
            rows = zip(*given, strict=True) if given else iter([()] * len(part))
            results = [self._compute(values, row) for row, values in enumerate(rows, start)]
            chunks.append(pa.array(results, kind))
        return pa.chunked_array(chunks, kind)

    def _compute(self, values: Sequence[object], row: int) -> object:
        if None in values:
            nulls = zip(values, self._nullable, strict=True)
            if any(value is None and not nullable for value, nullable in nulls):
                return None
        return self._result(self._run(values, row), row)

    def _run(self, arguments: Sequence[object], row: int) -> object:
        try:
            if self._in_order:
                return self._function(*arguments)
            return self._function(**dict(zip(self.bound.bindings, arguments, strict=True)))
        except Exception as error:
            raise InvalidInput(
                f"function {self.bound.function.name} failed in row {row}: {type(error).__name__}",
                hint="let it return None, annotated `| None`, where it has no answer",
                function=self.bound.function.name,
                row=row,
            ) from error

    def _result(self, value: object, row: int) -> object:
        definition = self.bound.function
        if value is None and definition.returns_null:
            return None
        try:
            return checked(definition.returns, value)
        except (TypeError, ValueError) as error:
            raise self._misfit(value, row) from error

    def _misfit(self, value: object, row: int) -> InvalidInput:
        definition = self.bound.function
        kind = "None" if value is None else f"a {type(value).__name__}"
        wanted = str(definition.returns)
        fits = type(value).__name__ == wanted
        return InvalidInput(
            f"function {definition.name} gave {kind} {'that does not fit ' if fits else ''}in row {row}, "
            f"and promises {wanted}",
            hint=f"annotate its result `{wanted} | None`" if value is None else f"return a {wanted}, or annotate it so",
            function=definition.name,
            row=row,
        )


def bind_functions(
    features: Sequence[FeatureFunction], find: FunctionFinder | None, columns: pa.Schema, *, label: str | None
) -> tuple[BoundFunction, ...]:
    """Check each function against the columns of the request, of the lookups, and of the functions before it.

    Args:
        features: in the order in which they are computed.
        find: registered functions by name; None where there are none.
        columns: of the request and the lookups.
        label: the column to predict, which no function may read or make.

    Raises:
        NotFound: no function of that name.
        InvalidInput: a binding, a type or an output does not fit; the hint says what would.
    """
    import pyarrow as pa

    bound: list[BoundFunction] = []
    for number, feature in enumerate(features):
        if find is None:
            raise InvalidInput(f"function {feature.udf_name} is used where none are known", hint="give their finder")
        version = find(feature.udf_name)
        later = [each.output for each in features[number:]]
        made = _bind(feature, version, columns, label, later)
        columns = columns.append(pa.field(made.output, result_type(made.function.returns)))
        bound.append(made)
    return tuple(bound)


def add_functions(table: pa.Table, functions: Sequence[BoundFunction]) -> pa.Table:
    """The table with each function's column on the right, in order.

    The columns were checked by `bind_functions` or `check_functions`.

    Raises:
        InvalidInput: a function failed, or gave another type than it promises; the row is counted from 0.
    """
    import pyarrow as pa

    for function in functions:
        kind = result_type(function.function.returns)
        table = table.append_column(pa.field(function.output, kind), CompiledFunction.of(function).column(table))
    return table


def check_functions(functions: Sequence[BoundFunction], columns: pa.Schema) -> None:
    """Whether the columns of the request and its lookups are there for each function, in types that it takes.

    Raises:
        InvalidInput: one is not.
    """
    import pyarrow as pa

    for bound in functions:
        for parameter in bound.function.parameters:
            if parameter.name in bound.bindings:
                _check_column(bound.function.name, parameter, bound.bindings[parameter.name], columns)
        columns = columns.append(pa.field(bound.output, result_type(bound.function.returns)))


def needed(functions: Sequence[BoundFunction], wanted: Collection[str], given: Collection[str]) -> list[BoundFunction]:
    """Those whose output is wanted, or read by one that is needed, and not given; in order."""
    asked = set(wanted)
    found = []
    for function in reversed(functions):
        if function.output in asked and function.output not in given:
            found.append(function)
            asked.update(function.bindings.values())
    return found[::-1]


def columns_read(functions: Sequence[BoundFunction]) -> list[str]:
    """The columns that functions read and don't make themselves, each once."""
    made = {function.output for function in functions}
    read = dict.fromkeys(column for function in functions for column in function.bindings.values())
    return [column for column in read if column not in made]


def code_of(functions: Sequence[BoundFunction]) -> dict[str, str]:
    """Name to hash of the code, for a training record."""
    return {function.function.name: function.function.code_hash for function in functions}


def _bind(
    feature: FeatureFunction, version: FunctionVersion, columns: pa.Schema, label: str | None, later: Sequence[str]
) -> BoundFunction:
    definition = version.definition
    parameters = {each.name: each for each in definition.parameters}
    for name in feature.bindings:
        if name not in parameters:
            raise InvalidInput(
                f"function {definition.name} has no parameter '{name}'",
                hint=did_you_mean(name, parameters),
                function=definition.name,
            )
    bindings = {name: feature.bindings[name] for name in parameters if name in feature.bindings}
    for parameter in definition.parameters:
        if parameter.name in bindings:
            _check_source(definition.name, bindings[parameter.name], columns, label, later)
            _check_column(definition.name, parameter, bindings[parameter.name], columns)
        elif parameter.required:
            raise InvalidInput(
                f"parameter '{parameter.name}' of function {definition.name} is not bound",
                hint=f'name its column: input_bindings={{"{parameter.name}": "..."}}; '
                + did_you_mean(parameter.name, columns.names),
                function=definition.name,
            )
    _check_output(feature, columns, label)
    types = {name: stored_type(parameters[name], columns.field(column).type) for name, column in bindings.items()}
    return BoundFunction(definition, version.version, bindings, feature.output, types)


def _check_source(name: str, column: str, columns: pa.Schema, label: str | None, later: Sequence[str]) -> None:
    if column == label:
        raise InvalidInput(
            f"function {name} reads the label '{column}', which no request has",
            hint="a feature that is made of the label leaks it: bind another column",
            function=name,
            column=column,
        )
    if column in later and column not in columns.names:
        own = column == later[0]
        raise InvalidInput(
            f"function {name} reads '{column}', which {'it makes itself' if own else 'a later function makes'}",
            hint="bind another column" if own else "put that function before it; two can't read each other",
            function=name,
            column=column,
        )


def _check_column(name: str, parameter: Parameter, column: str, columns: pa.Schema) -> None:
    found = columns.names.count(column)
    if found != 1:
        raise InvalidInput(
            f"function {name} reads '{column}', {'which is missing' if found == 0 else 'of which there are several'}",
            hint=did_you_mean(column, columns.names) if found == 0 else "keep one of them",
            function=name,
            column=column,
        )
    kind = columns.field(column).type
    if not takes(parameter, kind):
        raise InvalidInput(
            f"column '{column}' is {kind}, and parameter '{parameter.name}' of function {name} is {parameter.type}",
            hint="bind another column, or annotate the parameter as what the column holds",
            function=name,
            column=column,
        )


def _check_output(feature: FeatureFunction, columns: pa.Schema, label: str | None) -> None:
    if feature.output == label:
        raise InvalidInput(
            f"function {feature.udf_name} would make the label '{label}'",
            hint="give it another output_name",
            column=feature.output,
        )
    if feature.output in columns.names:
        raise InvalidInput(
            f"function {feature.udf_name} would make '{feature.output}', which is there already",
            hint="give it another output_name",
            column=feature.output,
        )
