"""What `millrace alert create` is told of a rule: what is asked, and when who hears of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from millrace.cli.options import named_values
from millrace.core.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from millrace.alerts.condition import Condition
    from millrace.alerts.types import AlertRule


@Parameter(name="*")
@dataclass(frozen=True)
class Asked:
    """What is asked, and which answer is bad."""

    operator: Annotated[str, Parameter(help="=, !=, >, >=, <, <=, 'is null' or 'is not null'; bad where it holds.")]
    threshold: Annotated[str | None, Parameter(help="What it is compared with: a number, a text, true or false.")] = (
        None
    )
    sql: Annotated[str | None, Parameter(help="One SELECT over tables of the lake.")] = None
    table: Annotated[str | None, Parameter(help="A metric table, instead of SQL.")] = None
    column: Annotated[str | None, Parameter(help="What is compared; the result's first column by default.")] = None
    aggregation: Annotated[
        Literal["avg", "count", "count_distinct", "max", "median", "min", "stddev", "sum"] | None,
        Parameter(help="Over all rows of the result; without it the first row counts."),
    ] = None
    threshold_column: Annotated[str | None, Parameter(help="Compare with this column instead.")] = None
    window: Annotated[str | None, Parameter(help="Of the table: only its last 7d, 12h, ...")] = None
    time: Annotated[str | None, Parameter(help="The table's time column, for --window.")] = None
    where: Annotated[str | None, Parameter(help="A condition on the table's rows, as SQL.")] = None
    empty: Annotated[Literal["ok", "bad", "unknown", "error"], Parameter(help="What a result without rows means.")] = (
        "unknown"
    )

    def condition(self) -> Condition:
        """As a rule has it. Raises InvalidInput or UsageError for what can't be."""
        from millrace.alerts.condition import Condition, parse_operator, parse_threshold

        return Condition(
            parse_operator(self.operator),
            None if self.threshold is None else parse_threshold(self.threshold),
            sql=self.sql,
            table=self.table,
            column=self.column,
            aggregation=self.aggregation,
            threshold_column=self.threshold_column,
            window=_span("--window", self.window),
            time=self.time,
            where=self.where,
            empty=self.empty,
        )


@Parameter(name="*")
@dataclass(frozen=True)
class Telling:
    """When an episode opens and ends, and who is told."""

    breaches: Annotated[str, Parameter(name="--for", help="Opens at so many bad of the last, as 2/3.")] = "1/1"
    resolve_after: Annotated[int, Parameter(help="Ends after so many good evaluations in a row.")] = 1
    repeat: Annotated[str | None, Parameter(help="Tell again after 1d, 6h, ... while it is open.")] = None
    every: Annotated[str | None, Parameter(help="Evaluate at most once in 1h, 1d, ...")] = None
    channel: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="A channel's name, or env:VARIABLE; may be repeated."),
    ] = ()
    label: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="A label for silences, as team=risk; may be repeated."),
    ] = ()
    quiet: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="Tell nothing then: 22:00-06:00, Sat-Sun; may be repeated."),
    ] = ()
    notify_on_ok: Annotated[bool, Parameter(help="Tell of the end, too.")] = True

    def rule(self, name: str, condition: Condition) -> AlertRule:
        """With these options, its channels left out. Raises InvalidInput or UsageError for what can't be."""
        from millrace.alerts.quiet import parse_quiet
        from millrace.alerts.types import METRIC, AlertRule

        for text in self.quiet:
            parse_quiet(text)
        bad, of = _share(self.breaches)
        return AlertRule(
            name,
            kinds=(METRIC,),
            breaches=bad,
            out_of=of,
            resolve_after=self.resolve_after,
            repeat_after=_span("--repeat", self.repeat),
            notify_on_ok=self.notify_on_ok,
            labels=named_values("--label", self.label, "team=risk"),
            inhibitions=(),
            quiet=self.quiet,
            condition=condition,
            every=_span("--every", self.every),
        )


def _share(text: str) -> tuple[int, int]:
    bad, _, of = text.partition("/")
    if not (bad.isdecimal() and of.isdecimal()):
        raise UsageError(f"--for {text} is not so many of so many", hint="write --for 2/3")
    return int(bad), int(of)


def _span(option: str, text: str | None) -> timedelta | None:
    from millrace.core.clock import parse_span

    if text is None:
        return None
    try:
        return parse_span(text)
    except InvalidInput as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error
