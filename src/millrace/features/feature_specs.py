"""Named feature specs: lookups and functions under one name, for training sets and for endpoints that serve features."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.core.clock import from_epoch_us, utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.functions.compiled import FunctionFinder, bind_functions, columns_read
from millrace.features.functions.store import FeatureSpecStore
from millrace.features.functions.values import result_type
from millrace.features.resolve import columns_after, frozen, resolve_all
from millrace.features.types import (
    BoundFunction,
    FeatureFunction,
    FeatureLookup,
    FeatureSpec,
    FunctionVersion,
    NamedFeatureSpec,
    parted,
)
from millrace.lake.lake import Lake

if TYPE_CHECKING:
    import pyarrow as pa


def make_feature_spec(
    lake: Lake,
    features: Sequence[FeatureLookup | FeatureFunction],
    find: FunctionFinder,
    *,
    exclude: Sequence[str] = (),
    as_of: datetime,
) -> FeatureSpec:
    """A feature spec without a model: its inputs are the features themselves, in order, without those excluded.

    A request is assumed to have the lookups' keys in their tables' types, and what else functions read in the types of their
    parameters. Functions are kept as they are now.

    Raises:
        NotFound: an unknown table or function.
        InvalidInput: a lookup, a function or an exclusion does not fit, or nothing is left.
    """
    lookups, called = parted(features)
    versions = {each.udf_name: find(each.udf_name) for each in called}
    request = _keys(lake, lookups)
    resolved = resolve_all(lake, lookups, request, utc(as_of), request_wins=False)
    made = columns_after(request, [found for _, found in resolved])
    times = {lookup.timestamp_lookup_key for lookup in lookups}
    request = _with_arguments(request, called, versions, made, times)
    columns = columns_after(request, [found for _, found in resolved])
    functions = bind_functions(called, versions.__getitem__, columns, label=None)
    outputs = [name for _, found in resolved for name in found.columns.values()]
    outputs += [function.output for function in functions]
    _check_excluded(exclude, outputs)
    return FeatureSpec(
        lookups=tuple(frozen(lookup, found) for lookup, found in resolved),
        label=None,
        exclude=tuple(exclude),
        inputs=tuple(name for name in outputs if name not in exclude),
        request_columns=tuple(name for name in columns_read(functions) if name in request.names and name not in times),
        functions=functions,
    )


def features_of(spec: FeatureSpec) -> tuple[list[FeatureLookup | FeatureFunction], FunctionFinder]:
    """A spec's features as they are declared, with a finder of the code that it holds: for a training set over it."""
    kept = {function.function.name: function for function in spec.functions}
    declared = [FeatureFunction(each.function.name, each.bindings, each.output) for each in spec.functions]
    return [*spec.lookups, *declared], lambda name: _version(kept[name])


def create_feature_spec(
    store: FeatureSpecStore, name: str, spec: FeatureSpec, description: str = ""
) -> NamedFeatureSpec:
    """Keep a spec under a new name.

    Raises:
        AlreadyExists: there is one.
        InvalidInput: the name is none.
    """
    return store.add(spec_name(name), spec, description)


def spec_name(name: str) -> str:
    """The short form of a spec's name. Raises InvalidInput where it is none."""
    try:
        return str(TableName.parse(name))
    except InvalidInput as error:
        raise InvalidInput(
            f"'{name}' is not a feature spec's name", hint="write it as a table's: ml.specs.churn", name=name
        ) from error


def _keys(lake: Lake, lookups: Sequence[FeatureLookup]) -> pa.Schema:
    """What a request has for the lookups. Where two tables differ about a key, the lookup of the second refuses it."""
    import pyarrow as pa

    fields: dict[str, pa.DataType] = {}
    for lookup in lookups:
        schema = lake.schema(lookup.table_name)
        for column, key in zip(lookup.keys, lake.entry(lookup.table_name).definition.primary_keys, strict=False):
            fields.setdefault(column, schema.field(key).type)
        if lookup.timestamp_lookup_key is not None:
            fields.setdefault(lookup.timestamp_lookup_key, pa.timestamp("us", "UTC"))
    return pa.schema(fields)


def _with_arguments(
    request: pa.Schema,
    called: Sequence[FeatureFunction],
    versions: Mapping[str, FunctionVersion],
    made: pa.Schema,
    times: Collection[str | None],
) -> pa.Schema:
    """The request with the columns that functions read and nothing else makes, in the types that they want.

    A time of the question is a day where a function takes a day.
    """
    import pyarrow as pa

    outputs = {each.output for each in called}
    fields = dict(zip(request.names, request.types, strict=True))
    for each in called:
        for parameter in versions[each.udf_name].definition.parameters:
            column = each.bindings.get(parameter.name)
            if column is not None and column not in made.names and column not in outputs:
                fields.setdefault(column, result_type(parameter.type))
            elif column in times and parameter.type == "date":
                fields[column] = pa.date32()
    return pa.schema(fields)


def _check_excluded(exclude: Sequence[str], outputs: Sequence[str]) -> None:
    for name in exclude:
        if name not in outputs:
            raise InvalidInput(
                f"exclude_columns names '{name}', which the spec does not make",
                hint=did_you_mean(name, outputs),
                column=name,
            )
    if not set(outputs) - set(exclude):
        raise InvalidInput("the feature spec has no features", hint="give a FeatureLookup or a FeatureFunction")


def _version(bound: BoundFunction) -> FunctionVersion:
    return FunctionVersion(bound.function, bound.version, "", "", from_epoch_us(0))
