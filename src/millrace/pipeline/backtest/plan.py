"""What a backtest reads, checked and pinned before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import metadata

from millrace.core.clock import from_epoch_us, iso
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.pipeline.backtest.types import Ask, Prepared
from millrace.pipeline.declare import Label, Pipeline, Split
from millrace.pipeline.definition import computed_tables, definition
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.port import Services
from millrace.pipeline.snapshots import pin_sources

_FORMAT = 2  # of what is kept in a backtest's folder; what another release has kept is not taken up either
_MOST_DATES = 5000


def prepare(services: Services, pipeline: Pipeline, ask: Ask) -> Prepared:
    """Check what is asked, and pin every table that is read. Changes nothing.

    The same pipeline over the same tables up to the same end has the same id, whatever the policies: they share features and models.

    Raises:
        InvalidInput: the dates are out of order or in the future, or there is no policy.
        NotFound: a source is missing.
    """
    _check(services, ask)
    versions = _pin_all(services, pipeline)
    kept = {str(name): version for name, version in versions.items()}
    described = definition(pipeline, services.functions)
    return Prepared(
        ask, fingerprint(_FORMAT, metadata.version("millrace"), described, kept, iso(ask.end))[:12], versions
    )


def result_key(pipeline: Pipeline, ask: Ask) -> str:
    """What one result differs from another in, under the same id."""
    return fingerprint(
        _FORMAT,
        metadata.version("millrace"),
        ask,
        pipeline.monitor,
        pipeline.alerts,
        pipeline.gates,
        pipeline.skip_gates,
    )[:12]


def first_training(times_us: Sequence[int], label: Label, split: Split) -> datetime | None:
    """The first time at which there is a label to train on and one to judge by; None where there is none.

    Args:
        times_us: the distinct times of the labels, rising.
        label: when they are known.
        split: how they are split.
    """
    known_after, holdout = (int(span / timedelta(microseconds=1)) for span in (label.known_after, split.holdout))
    for newest in times_us:
        first = next(time for time in times_us if time > newest - holdout)
        if times_us[0] <= first - max(known_after, 1):
            return from_epoch_us(newest) + label.known_after
    return None


def _check(services: Services, ask: Ask) -> None:
    if ask.end < ask.start:
        raise InvalidInput(
            f"the backtest ends {ask.end:%Y-%m-%d}, before it begins ({ask.start:%Y-%m-%d})",
            hint="give --from a date before --to",
        )
    if ask.step <= timedelta(0) or len(ask.dates) > _MOST_DATES:
        raise InvalidInput(f"a step of {ask.step} makes no backtest", hint="write --step 1d, or 7d")
    if ask.end > services.clock.now():
        raise InvalidInput(
            f"{ask.end:%Y-%m-%d} has not come: it is {iso(services.clock.now())}", hint="give an earlier --to"
        )
    names = [policy.name for policy in ask.policies]
    if not names or len(set(names)) < len(names):
        raise InvalidInput("a backtest needs policies, each once", hint="give --policy never --policy monthly")


def _pin_all(services: Services, pipeline: Pipeline) -> dict[TableName, int]:
    computed = computed_tables(pipeline)
    pins = [pin for table in computed for pin in pin_sources(services, table, None, {}).values()]
    own = {TableName.parse(table.name) for table in computed}
    others = [pipeline.labels.name, *(lookup.table_name for lookup in pipeline.all_lookups)]
    others += [pipeline.holdout] if pipeline.holdout else []
    pins += [services.lake.pin(name) for name in others if TableName.parse(name) not in own]
    return {pin.name: int(pin.version) for pin in pins if pin.name not in own}
