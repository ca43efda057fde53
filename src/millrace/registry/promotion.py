"""Move an alias, keep the way back, and write down who did it and why.

Order: the way back (`previous`), the alias, the event, and the promotion log last. The log is the mark that a promotion is
complete: after a crash anywhere before it, promoting again does what is missing. So the log names each promotion once, and so
do the events: one that is newer than the log's last entry is of the promotion that was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping

from millrace.core.clock import Clock
from millrace.core.errors import InvalidState
from millrace.core.events import Event, EventLog
from millrace.core.principal import Principal
from millrace.registry.port import PromotionLog, Registry
from millrace.registry.types import ModelName, ModelVersion, Promotion

PRODUCTION = "production"
PREVIOUS = "previous"
_MOVED = "alias.moved"


def promote(  # noqa: PLR0917 - the world first, then what to do in it
    registry: Registry,
    log: PromotionLog,
    events: EventLog,
    clock: Clock,
    principal: Principal,
    model: ModelName,
    version: ModelVersion,
    alias: str,
    *,
    why: str,
    verdict: Mapping[str, object] | None = None,
) -> Promotion:
    """Point an alias at a version. What production pointed to before gets the alias `previous`.

    Promoting what is already there, and logged, changes nothing and returns the promotion that did it. Two callers at
    once must be kept apart by a lease.

    Args:
        registry: where models and aliases are.
        log: the promotion log.
        events: gets `alias.moved`.
        clock: the time that is written down.
        principal: who.
        model: whose version.
        version: which.
        alias: `staging`, `production` or a name of your own.
        why: a sentence for the log.
        verdict: what the gates said, JSON-compatible (`validation.judge.as_json`).

    Raises:
        NotFound: there is no such model or version.
    """
    registry.version(model, version)
    current = registry.by_alias(model, alias)
    last = _last(log, model, alias)
    if current is not None and current.version == version:
        if last is not None and last.version == version:
            return last
        replaced = _replaced(registry, last, model, alias, version)
        registry.set_alias(model, alias, version)  # it may have been killed before its tags were written
    else:
        replaced = None if current is None else current.version
        if alias == PRODUCTION and replaced is not None:
            registry.set_alias(model, PREVIOUS, replaced)
        registry.set_alias(model, alias, version)
    done = Promotion(model, version, alias, replaced, clock.now(), str(principal), why, dict(verdict or {}))
    return _record(log, events, principal, done)


def rollback(  # noqa: PLR0917 - as promote
    registry: Registry,
    log: PromotionLog,
    events: EventLog,
    clock: Clock,
    principal: Principal,
    model: ModelName,
    *,
    why: str,
) -> Promotion:
    """Put the previous version into production again; the one that leaves becomes `previous`, so that twice is back.

    A rollback that was interrupted before it was logged is finished by the next one, which then goes no further.

    Raises:
        InvalidState: nothing is in production, or there is no previous version.
    """
    current, previous = registry.by_alias(model, PRODUCTION), registry.by_alias(model, PREVIOUS)
    if current is None:
        raise InvalidState(
            f"{model} has no version in production", hint="promote one first: `millrace run`", model=model
        )
    last = _last(log, model, PRODUCTION)
    to, leaving = _swap(current.version, None if previous is None else previous.version, last)
    if to is None:
        raise InvalidState(
            f"{model} has no previous version to go back to",
            hint="a rollback is possible once a second version was promoted to production",
            model=model,
        )
    registry.set_alias(model, PRODUCTION, to)
    registry.set_alias(model, PREVIOUS, leaving)
    done = Promotion(model, to, PRODUCTION, leaving, clock.now(), str(principal), why)
    return _record(log, events, principal, done)


def _swap(
    current: ModelVersion, previous: ModelVersion | None, last: Promotion | None
) -> tuple[ModelVersion | None, ModelVersion]:
    """Which version comes, which goes. Where the log and the aliases differ, something was interrupted before it was logged."""
    if last is not None and last.version != current and previous in (current, last.version):
        return current, last.version  # a rollback that got as far as production, or only lacks its entry
    if previous == current:
        return (None if last is None else last.replaced), current  # a promotion that got no further than `previous`
    return previous, current


def _record(log: PromotionLog, events: EventLog, principal: Principal, done: Promotion) -> Promotion:
    if not _is_told(log, events, done):
        data = {"alias": done.alias, "version": done.version, "replaced": done.replaced, "why": done.why}
        events.append(Event(_MOVED, done.model, done.at, principal, data))
    log.append(done)
    return done


def _is_told(log: PromotionLog, events: EventLog, done: Promotion) -> bool:
    """Whether the alias's newest event is of this move, which was interrupted before it was logged."""
    newest, after = None, 0
    while page := events.read(after=after, kind=_MOVED, subject=done.model):
        newest = next((event for event in reversed(page) if event.data["alias"] == done.alias), newest)
        after = page[-1].cursor
    last = _last(log, done.model, done.alias)
    if newest is None or (last is not None and (newest.at, newest.data["version"]) == (last.at, last.version)):
        return False
    return (newest.data["version"], newest.data["replaced"]) == (done.version, done.replaced)


def _last(log: PromotionLog, model: ModelName, alias: str) -> Promotion | None:
    return next((each for each in reversed(log.read(model)) if each.alias == alias), None)


def _replaced(
    registry: Registry, last: Promotion | None, model: ModelName, alias: str, version: ModelVersion
) -> ModelVersion | None:
    """What an unlogged move took the alias from."""
    if alias == PRODUCTION:
        previous = registry.by_alias(model, PREVIOUS)
        return None if previous is None or previous.version == version else previous.version
    return None if last is None else last.version
