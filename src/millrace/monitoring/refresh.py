"""Refresh a monitor: count what the log has new, judge its windows, and bring the metric tables up to date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.lake.lake import Lake
from millrace.monitoring.counts.update import Counted, commit_counts, count_new, stored_rows
from millrace.monitoring.counts.view import View, bases
from millrace.monitoring.judge import LABELS_PAST, PAST, judge
from millrace.monitoring.publish import around, granularities, publish, touched
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.replace import Windows, write
from millrace.monitoring.tables.custom import check
from millrace.monitoring.tables.rows import Rows
from millrace.monitoring.tables.schemas import MetricTables, summary_schema, verdicts_schema
from millrace.monitoring.tables.verdict_table import read_verdicts, summary_rows, verdict_row
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.windows import Granularity

_INSTANT = timedelta(microseconds=1)
_AT_ONCE = 400  # windows that are judged together


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh found.

    Attributes:
        verdicts: oldest window first, by kind where they are of one window.
        notes: what a user should hear that is no verdict: a slice with too many values, a metric that can't be computed.
    """

    verdicts: Sequence[WindowVerdict]
    notes: Sequence[str] = ()


def refresh(
    lake: Lake, spec: MonitorSpec, references: Mapping[str, ReferenceProfile], *, since: datetime, until: datetime
) -> Refreshed:
    """Count what came since the last refresh, judge the windows in [since, until) and those that changed, and store what is new.

    Only rows that were added since are read, and those of windows that lost some; late rows and late labels reopen their windows, which are
    judged again with those up to 28 later that look back at them. The counts are written last, in one commit, so doing it twice
    is doing it once, and after a crash the next refresh completes it. Run one refresh of a monitor at a time.

    Args:
        lake: holds the log and the metric tables, which are made where they are missing.
        spec: the monitor.
        references: model version to its frozen reference; rows of other versions are left out.
        since: the window that holds it is judged whether or not it changed, and so are all later ones.
        until: windows that begin from here on are counted and not judged; the last window may be unfinished.

    Raises:
        NotFound: there is no such log.
        InvalidInput: the log lacks the timestamp or the model version, a slice or a metric can't be computed from its columns, or the period is empty.
    """
    since, until = utc(since), utc(until)
    if since >= until:
        raise InvalidInput("the period to refresh is empty", hint="give a since that is before until")
    check(spec)
    counted = count_new(lake, spec, references)
    windows = {version: _to_judge(spec, counted, version, since, until) for version in references}
    view, answers = _view(lake, spec, counted, windows), _answers(lake, spec, counted, windows)
    publish(lake, spec, references, counted, view)
    asked = _asked(spec, answers, references)
    verdicts = [
        verdict
        for version, reference in references.items()
        for verdict in _judge(
            spec, (version, reference), (view, answers), windows[version], until if version in asked else None
        )
    ]
    _store(lake, spec, counted, verdicts)
    commit_counts(lake, spec, counted)
    ordered = sorted(verdicts, key=lambda verdict: (verdict.start, verdict.model_version, verdict.kind))
    return Refreshed(ordered, counted.notes)


def _to_judge(spec: MonitorSpec, counted: Counted, version: str, since: datetime, until: datetime) -> set[int]:
    """Numbers of windows: those of the period, those that changed, and those that look back at one of these."""
    granularity = Granularity.parse(spec.granularity)
    first, last = granularity.number(since), granularity.number(until - _INSTANT)
    reopened = {number + step for number in touched(counted, granularity, counted.of(version)) for step in range(PAST)}
    return set(range(first, last + 1)) | {number for number in reopened if number <= last}


def _view(lake: Lake, spec: MonitorSpec, counted: Counted, judged: Mapping[str, set[int]]) -> View:
    """The counts of all windows that something is said of, and of those that they are compared with."""
    granularity = Granularity.parse(spec.granularity)
    parts: list[tuple[int, int]] = []
    for version, numbers in judged.items():
        for first, last in _runs(numbers):
            wanted = set(range(first - PAST, last + 1))
            parts += bases(granularity, counted.base, wanted)
        for one in granularities(spec):
            parts += bases(one, counted.base, around(counted, version, one))
    return View.of(stored_rows(lake, spec, counted.base, parts), counted.rows, counted.anew, counted.base)


def _answers(lake: Lake, spec: MonitorSpec, counted: Counted, judged: Mapping[str, set[int]]) -> View:
    """The answers, and nothing else, of windows whose labels an estimate is held against: late ones are of old windows."""
    granularity = Granularity.parse(spec.granularity)
    parts: list[tuple[int, int]] = []
    for numbers in judged.values():
        for first, last in _runs(numbers):
            parts += bases(granularity, counted.base, set(range(first - LABELS_PAST, last + 1)))
    stored = stored_rows(lake, spec, counted.base, parts, answers_only=True)
    return View.of(stored, counted.rows, counted.anew, counted.base)


def _asked(spec: MonitorSpec, answers: View, versions: Iterable[str]) -> set[str]:
    """The versions that have the newest window: who was replaced is silent, and nothing is missing."""
    granularity = Granularity.parse(spec.granularity)
    newest = {version: max(answers.present(version, granularity), default=None) for version in versions}
    last = max((number for number in newest.values() if number is not None), default=None)
    return {version for version, number in newest.items() if number == last}


def _judge(
    spec: MonitorSpec,
    of: tuple[str, ReferenceProfile],
    views: tuple[View, View],
    numbers: set[int],
    until: datetime | None,
) -> Iterator[WindowVerdict]:
    (version, reference), (view, answers) = of, views
    granularity = Granularity.parse(spec.granularity)
    present, known = view.present(version, granularity), answers.present(version, granularity)
    for first, last in _runs(numbers):
        wanted = present & set(range(first - PAST, last + 1))
        windows = [window for _, window in view.windows(version, granularity, wanted, sliced=False)]
        end = until and min(granularity.start(last + 1), until)
        wanted = known & set(range(first - LABELS_PAST, last + 1))
        labelled = [window for _, window in answers.windows(version, granularity, wanted, sliced=False)]
        for verdict in judge(spec, version, reference, windows, until=end, labelled=labelled, first=first):
            if granularity.number(verdict.start) in numbers and granularity.number(verdict.start) <= last:
                yield verdict


def _runs(numbers: set[int]) -> Iterator[tuple[int, int]]:
    """Stretches of windows that are judged together: apart by more than they look back, and not too long."""
    run: list[int] = []
    for number in sorted(numbers):
        if run and (number - run[-1] > PAST or number - run[0] >= _AT_ONCE):
            yield run[0], run[-1]
            run = []
        run.append(number)
    if run:
        yield run[0], run[-1]


def _store(lake: Lake, spec: MonitorSpec, counted: Counted, verdicts: Sequence[WindowVerdict]) -> None:
    """The windows with verdicts that are not there yet, or are otherwise; their summary first, which is known to be there by them."""
    names, granularity = MetricTables.of(spec), Granularity.parse(spec.granularity)
    found, windows = (Rows(verdicts_schema(spec)), Rows(summary_schema(spec))), Windows(anew=counted.anew)
    if verdicts:
        starts = [verdict.start for verdict in verdicts]
        there = read_verdicts(lake, spec, since=min(starts), until=max(starts) + _INSTANT)
        known = {(one.start, one.model_version, one.kind): one for one in there}
        new = [one for one in verdicts if known.get((one.start, one.model_version, one.kind)) != one]
        at = {(one.start, one.model_version) for one in new} | {
            (one.start, one.model_version) for one in verdicts if one.model_version in counted.anew
        }
        for start, version in at:
            windows.add(version, granularity, [granularity.number(start)])
        chosen = [one for one in verdicts if (one.start, one.model_version) in at]
        found[0].add([verdict_row(spec, one) for one in chosen])
        found[1].add(summary_rows(spec, chosen))
    for name, rows in ((names.summary, found[1]), (names.verdicts, found[0])):
        write(lake, name, rows.all(), windows, spec.model_id_col)
