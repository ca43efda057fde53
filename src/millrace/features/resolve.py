"""Checks a lookup against its table and the request, once, so that no engine has anything left to decide."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.defaults import typed_default
from millrace.features.identity import is_time, key_family
from millrace.features.types import FeatureLookup, FeatureSource, ResolvedLookup
from millrace.lake.columns import whole_numbers
from millrace.lake.lake import Lake


def resolve(
    lake: Lake,
    lookup: FeatureLookup,
    request_schema: pa.Schema,
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
    *,
    given: Collection[str] = (),
) -> ResolvedLookup:
    """Pin the lookup's table as of a time and check every name and type.

    Args:
        lake: where the table is.
        lookup: what is asked for.
        request_schema: columns of the request.
        as_of: the table's version is the newest committed at or before it.
        versions: versions that win over `as_of`.
        given: outputs that the request brings itself and that are not looked up.

    Raises:
        NotFound: no such table, or no version at that time.
        InvalidInput: a name or a type does not fit; the hint says what would.
    """
    source = _source(lake, lookup, as_of, versions)
    columns = {feature: output for feature, output in _columns(lookup, source).items() if output not in given}
    _check_keys(lookup, source, request_schema)
    _check_time(lookup, source, request_schema)
    return ResolvedLookup(
        source=source,
        keys=lookup.keys,
        columns=columns,
        timestamp_key=lookup.timestamp_lookup_key,
        lookback=lookup.lookback_window,
        defaults=_defaults(lookup, source, columns, given),
    )


def resolve_all(
    lake: Lake,
    lookups: Sequence[FeatureLookup],
    request_schema: pa.Schema,
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
    *,
    request_wins: bool,
    label: str | None = None,
) -> list[tuple[FeatureLookup, ResolvedLookup]]:
    """Each lookup with its resolution, in order; those that have nothing to find because the request brings it are left out.

    Args:
        lake: where the tables are.
        lookups: what is asked for.
        request_schema: columns of the request.
        as_of: as in `resolve`.
        versions: as in `resolve`.
        request_wins: a column that the request has already is taken from there (scoring); else it is an error (training).
        label: the column to predict, which no lookup may bring or use.

    Raises:
        InvalidInput: as `resolve`, and where the request has a column twice, two lookups make the same column or one makes a
            column that is there.
    """
    present = set(request_schema.names)
    for name in present if len(present) < len(request_schema.names) else ():
        _check_present(name, request_schema, "and columns are known by their names")
    made: dict[str, str] = {}
    found = []
    pinned = dict(versions or {})  # a table is read at one version, also where somebody commits to it meanwhile
    for lookup in lookups:
        if request_wins and lookup.feature_names and all(name in present for name in outputs_of(lookup)):
            continue
        resolved = resolve(lake, lookup, request_schema, as_of, pinned, given=present if request_wins else ())
        pinned[resolved.source.table.name] = resolved.source.table.version
        _check_label(label, lookup, resolved)
        for output in resolved.columns.values():
            _check_new(output, lookup.table_name, present, made)
            made[output] = lookup.table_name
        if resolved.columns:
            found.append((lookup, resolved))
    return found


def columns_after(request_schema: pa.Schema, resolved: Sequence[ResolvedLookup]) -> pa.Schema:
    """The request's columns, then those that the lookups add, with their types."""
    fields = list(request_schema)
    for found in resolved:
        fields += [pa.field(output, found.source.schema.field(name).type) for name, output in found.columns.items()]
    return pa.schema(fields)


def outputs_of(lookup: FeatureLookup) -> tuple[str, ...]:
    """Output columns of a lookup that names its features; empty where it takes all of the table."""
    return tuple(lookup.rename_outputs.get(name, name) for name in lookup.feature_names or ())


def frozen(lookup: FeatureLookup, resolved: ResolvedLookup) -> FeatureLookup:
    """The lookup with nothing left open: features by name, defaults in their types. Later columns don't change it."""
    return replace(
        lookup,
        table_name=str(resolved.source.table.name),
        lookup_key=lookup.keys,
        feature_names=tuple(resolved.columns),
        rename_outputs={name: output for name, output in resolved.columns.items() if name != output},
        default_values=dict(resolved.defaults),
    )


def _source(
    lake: Lake, lookup: FeatureLookup, as_of: datetime, versions: Mapping[TableName, int] | None
) -> FeatureSource:
    entry = lake.entry(lookup.table_name)
    definition = entry.definition
    if not definition.primary_keys:
        raise InvalidInput(
            f"table {entry.name} has no primary keys, so nothing can be looked up in it",
            hint="create it as a feature table, with primary keys",
            table=str(entry.name),
        )
    pinned = lake.pin(entry.name, as_of, versions)
    return FeatureSource(
        table=pinned,
        location=entry.location,
        files=lake.store.files(entry.location, pinned.version),
        schema=lake.store.schema(entry.location, pinned.version),
        primary_keys=definition.primary_keys,
        timeseries_column=definition.timeseries_column,
        available_after=definition.available_after if definition.timeseries_column else timedelta(0),
        date_stands_for=definition.date_stands_for,
    )


def _columns(lookup: FeatureLookup, source: FeatureSource) -> dict[str, str]:
    identity = {*source.primary_keys, source.timeseries_column}
    features = [name for name in source.schema.names if name not in identity]
    names = features if lookup.feature_names is None else list(lookup.feature_names)
    for name in names:
        if name not in features:
            what = "is a key of" if name in identity else "is not in"
            raise InvalidInput(
                f"feature '{name}' {what} table {source.table.name}",
                hint=did_you_mean(name, features),
                table=str(source.table.name),
                feature=name,
            )
    for name in lookup.rename_outputs:
        if name not in names:
            raise InvalidInput(
                f"rename_outputs names '{name}', which this lookup of {source.table.name} does not have",
                hint=did_you_mean(name, names),
                feature=name,
            )
    columns = {name: lookup.rename_outputs.get(name, name) for name in names}
    if len(columns) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"feature '{twice}' is asked for twice", hint="name it once", feature=twice)
    outputs = list(columns.values())
    double = next((name for name in outputs if outputs.count(name) > 1), None)
    if double is not None:
        raise InvalidInput(
            f"two features of {source.table.name} would both be called '{double}'",
            hint="give one of them another name in rename_outputs",
            column=double,
        )
    return columns


def _check_keys(lookup: FeatureLookup, source: FeatureSource, request: pa.Schema) -> None:
    name = source.table.name
    if len(lookup.keys) != len(source.primary_keys):
        raise InvalidInput(
            f"table {name} has {len(source.primary_keys)} primary keys, lookup_key has {len(lookup.keys)}",
            hint=f"give request columns for: {', '.join(source.primary_keys)}",
            table=str(name),
        )
    for column, key in zip(lookup.keys, source.primary_keys, strict=True):
        _check_present(column, request, f"the lookup key for {name}")
        asked, stored = request.field(column).type, source.schema.field(key).type
        if key_family(asked) not in (key_family(stored), "null"):
            raise InvalidInput(
                f"key '{column}' is {asked}, but '{key}' of table {name} is {stored}",
                hint=f"cast '{column}' to {stored}; keys are compared as they are, never converted{whole_numbers(asked, stored)}",
                table=str(name),
                column=column,
            )


def _check_time(lookup: FeatureLookup, source: FeatureSource, request: pa.Schema) -> None:
    column = lookup.timestamp_lookup_key
    if column is None:
        return
    if source.timeseries_column is None:
        raise InvalidInput(
            f"table {source.table.name} has no timeseries column, so timestamp_lookup_key says nothing",
            hint="leave timestamp_lookup_key out, or create the table with a timeseries column",
            table=str(source.table.name),
        )
    _check_present(column, request, f"the time of the question for {source.table.name}")
    kind = request.field(column).type
    if not (is_time(kind) or pa.types.is_null(kind)):
        raise InvalidInput(
            f"timestamp_lookup_key '{column}' is {kind}, not a time",
            hint="make it a timestamp or a date",
            column=column,
        )


def _check_present(column: str, request: pa.Schema, what: str) -> None:
    found = request.names.count(column)
    if found != 1:
        raise InvalidInput(
            f"the request has {'no' if found == 0 else 'more than one'} column '{column}', {what}",
            hint=did_you_mean(column, request.names) if found == 0 else "keep one of them",
            column=column,
        )


def _check_label(label: str | None, lookup: FeatureLookup, resolved: ResolvedLookup) -> None:
    if label is None:
        return
    if label in resolved.columns.values():
        raise InvalidInput(
            f"the label '{label}' is among the features of {resolved.source.table.name}",
            hint="leave it out of feature_names, or rename it in rename_outputs",
            column=label,
        )
    if label in (*lookup.keys, lookup.timestamp_lookup_key):
        raise InvalidInput(
            f"the label '{label}' is a lookup key", hint="name the column to predict as label", column=label
        )


def _check_new(output: str, table: str, present: Collection[str], made: Mapping[str, str]) -> None:
    if output in made:
        raise InvalidInput(
            f"'{output}' comes from {made[output]} and from {table}",
            hint="give one of them another name in rename_outputs",
            column=output,
        )
    if output in present:
        raise InvalidInput(
            f"the request has a column '{output}' already, and {table} would add it again",
            hint="rename the feature in rename_outputs, leave it out of feature_names, or drop the request's column",
            column=output,
        )


def _defaults(
    lookup: FeatureLookup, source: FeatureSource, columns: Mapping[str, str], given: Collection[str]
) -> dict[str, object]:
    types = {output: source.schema.field(name).type for name, output in columns.items()}
    for name in lookup.default_values:
        if name not in types and name not in given:
            raise InvalidInput(
                f"default_values names '{name}', which this lookup of {source.table.name} does not give",
                hint=did_you_mean(name, types),
                column=name,
            )
    return {
        name: typed_default(value, types[name], name) for name, value in lookup.default_values.items() if name in types
    }
