"""Which rows of which tables belong to the past at a time, and so must stay as they are while the future is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

from millrace.core.errors import MillraceError
from millrace.core.names import TableName
from millrace.features.types import FeatureLookup
from millrace.lake.lake import Lake
from millrace.lake.types import DateStandsFor, TableDefinition, TableEntry
from millrace.pipeline.declare import Pipeline, Source

_ROLES = frozenset(
    {"table", "features", "labels", "training_set"}
)  # what feature code may read; logs and metrics are not
_MOST_ROWS = 1_000_000  # a larger table that the pipeline does not name is left alone


@dataclass(frozen=True, slots=True)
class View:
    """One way in which rows of a table become known.

    Attributes:
        time: the event time column.
        delay: how long after its event time a row can be seen.
        valid_to: column with the time at which a row ended, learned as late as a row; None where rows don't end.
    """

    time: str
    delay: timedelta
    valid_to: str | None = None


@dataclass(frozen=True, slots=True)
class TableRule:
    """How a table is changed.

    Attributes:
        name: the table, three levels.
        views: a row that any of them shows is of the past. None of them: nobody can tell the table's past from its future.
        keep: columns that identify, and stay as they are.
        unique: columns whose values together come once, or nothing.
        date_stands_for: which end of its day a DATE means.
        declared: whether the pipeline takes, looks up or labels with the table.
        named: whether it does, or its page has the table's name.
    """

    name: str
    views: tuple[View, ...]
    keep: tuple[str, ...]
    unique: tuple[str, ...]
    date_stands_for: DateStandsFor
    declared: bool
    named: bool = True

    @property
    def is_timed(self) -> bool:
        """Whether past and future rows can be told apart."""
        return bool(self.views)


def find_rules(lake: Lake, pipeline: Pipeline, page: str = "") -> list[TableRule]:
    """A rule for each table that the pipeline names, or that its functions could read.

    Args:
        lake: the tables.
        pipeline: its sources, label and lookups are declared; its own tables are not sources.
        page: the text of the pipeline's files; a table whose name is in it is changed however large it is.
    """
    sources = _by_table(declared_sources(pipeline))
    asked = {TableName.parse(lookup.table_name) for lookup in table_lookups(pipeline)}
    named = {*sources, *asked, TableName.parse(pipeline.labels.name)}
    entries = [entry for entry in lake.catalog.list() if entry.name in named or _may_be_read(lake, entry, page)]
    shared = _shared_columns(lake, [entry.name for entry in entries if entry.name in named])
    keys = frozenset(_key_columns(pipeline))
    rules = [
        _rule(entry, sources.get(entry.name, ()), shared | keys, declared=entry.name in named) for entry in entries
    ]
    labels = pipeline.labels
    for number, entry in enumerate(entries):
        if entry.name == TableName.parse(labels.name):
            rules[number] = _with_view(rules[number], View(labels.time, labels.known_after))
        is_named = rules[number].declared or entry.name.table in page
        rules[number] = replace(rules[number], named=is_named)
    return rules


def lookup_rules(lake: Lake, pipeline: Pipeline) -> list[TableRule]:
    """A rule for each looked-up table, as lookups see it: by its own timeseries column."""
    names = dict.fromkeys(TableName.parse(lookup.table_name) for lookup in table_lookups(pipeline))
    keys = frozenset(_key_columns(pipeline))
    return [_rule(lake.entry(name), (), keys, declared=True) for name in names]


def declared_sources(pipeline: Pipeline) -> list[Source]:
    """All sources that the pipeline's functions take, those behind windows too."""
    tables = [*pipeline.features, pipeline.label]
    return [source for table in tables for source in getattr(table, "sources", {}).values()]


def remedy(pipeline: Pipeline, guilty: Collection[str]) -> str:
    """How a function stops seeing what came later in these tables."""
    uncut = {str(TableName.parse(source.name)) for source in declared_sources(pipeline) if source.history == "none"}
    named = ", ".join(sorted(uncut & set(guilty)))
    if named:
        return f"history='none' cuts nothing: declare how {named} keeps its history ('append', 'snapshot' or 'scd2')"
    return "take the table as a parameter with a Source: the frame that is handed in ends in time"


def table_lookups(pipeline: Pipeline) -> list[FeatureLookup]:
    """The lookups that read a table."""
    return list(pipeline.all_lookups)


def _by_table(sources: Iterable[Source]) -> dict[TableName, list[Source]]:
    found: dict[TableName, list[Source]] = {}
    for source in sources:
        found.setdefault(TableName.parse(source.name), []).append(source)
    return found


def _may_be_read(lake: Lake, entry: TableEntry, page: str) -> bool:
    if entry.name.table in page:
        return True
    try:
        return entry.definition.role in _ROLES and lake.rows(entry.name) <= _MOST_ROWS
    except MillraceError:  # its files are gone, or can't be read: neither can feature code read them
        return False


def _key_columns(pipeline: Pipeline) -> Iterable[str]:
    yield from pipeline.labels.keys
    for table in pipeline.features:
        yield from table.keys


def _shared_columns(lake: Lake, names: Sequence[TableName]) -> frozenset[str]:
    # Columns that two tables have are what they are joined by.
    counted: dict[str, int] = {}
    for name in names:
        for column in lake.schema(name).names:
            counted[column] = counted.get(column, 0) + 1
    return frozenset(column for column, count in counted.items() if count > 1)


def _rule(entry: TableEntry, sources: Sequence[Source], keys: frozenset[str], *, declared: bool) -> TableRule:
    definition = entry.definition
    views = tuple(dict.fromkeys(_views(definition, sources)))
    times = {view.time for view in views}
    identity = (*definition.primary_keys, *filter(None, (definition.timeseries_column,)))
    return TableRule(
        name=str(entry.name),
        views=views,
        keep=tuple(sorted({*definition.primary_keys, *keys} - times)),
        unique=identity if definition.primary_keys else (),
        date_stands_for=definition.date_stands_for,
        declared=declared,
    )


def _views(definition: TableDefinition, sources: Sequence[Source]) -> Iterable[View]:
    for source in sources:
        if source.history != "none" and source.event_time is not None:
            yield View(source.event_time, max(source.available_after, definition.available_after), source.valid_to)
    if not sources and definition.timeseries_column is not None:
        yield View(definition.timeseries_column, definition.available_after)


def _with_view(rule: TableRule, view: View) -> TableRule:
    # What others fill need not say in the catalog which column its time is; the pipeline does.
    views = tuple(dict.fromkeys([*rule.views, view]))
    return replace(rule, views=views, keep=tuple(name for name in rule.keep if name != view.time))


def to_document(rules: Sequence[TableRule]) -> list[Mapping[str, object]]:
    """JSON of the rules."""
    return [
        {
            "name": rule.name,
            "views": [[view.time, view.delay // timedelta(microseconds=1), view.valid_to] for view in rule.views],
            "keep": list(rule.keep),
            "unique": list(rule.unique),
            "date_stands_for": rule.date_stands_for,
            "declared": rule.declared,
            "named": rule.named,
        }
        for rule in rules
    ]


def from_document(document: Sequence[Mapping[str, object]]) -> list[TableRule]:
    """The rules of a JSON document."""
    return [_from(one) for one in document]


def _from(one: Mapping[str, object]) -> TableRule:
    views = cast("list[tuple[str, int, str | None]]", one["views"])
    return TableRule(
        name=str(one["name"]),
        views=tuple(View(time, timedelta(microseconds=delay), valid_to) for time, delay, valid_to in views),
        keep=tuple(cast("list[str]", one["keep"])),
        unique=tuple(cast("list[str]", one["unique"])),
        date_stands_for=cast("DateStandsFor", one["date_stands_for"]),
        declared=bool(one["declared"]),
        named=bool(one["named"]),
    )
