"""What a session may read while a feature function runs: tables cut at its time, and nothing that was made outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakSet

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.lake.adapters.plan_guard import Guard

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Cut = Callable[[TableName], "DataFrame"]


@dataclass(eq=False)
class Scope:
    """A feature function's view of the tables, in the thread that runs it.

    Attributes:
        session: the session that runs it.
        given: its declared sources, cut.
        cut: gives any other table of the workspace, cut; None: there are no others.
        guard: knows which parts of a plan were made here.
        views: temporary views that the function made.
        trusted: how many times the engine itself is at work, inside one another.
        frames: what `cut` gave.
        earlier: the threads that were there before; a later one may have been started by the function.
    """

    session: SparkSession
    given: Mapping[TableName, DataFrame]
    cut: Cut | None
    guard: Guard
    views: set[str] = field(default_factory=set)
    trusted: int = 0
    frames: dict[TableName, DataFrame] = field(default_factory=dict)
    earlier: WeakSet[threading.Thread] = field(default_factory=lambda: WeakSet(threading.enumerate()))

    def table(self, name: TableName) -> DataFrame:
        """The table, cut at the scope's time.

        Raises:
            NotFound: there is no such table to be read here.
        """
        known = self.given.get(name) or self.frames.get(name)
        if known is not None:
            return known
        if self.cut is None:
            names = [str(given) for given in self.given]
            hint = did_you_mean(str(name), names) if names else "no table was given"
            raise NotFound(f"table {name} can't be read here", hint=hint, table=str(name))
        with self.trust():
            frame = self.frames[name] = self.cut(name)
        self.guard.allow(frame)
        return frame

    @contextmanager
    def trust(self) -> Iterator[None]:
        """Let the engine itself read files, which a feature function may not."""
        self.trusted += 1
        try:
            yield
        finally:
            self.trusted -= 1


class _Current(threading.local):
    scope: Scope | None = None


_current = _Current()
_open: list[Scope] = []


def current() -> Scope | None:
    """The scope of this thread; None outside feature functions, and where the engine itself is at work."""
    scope = _current.scope
    return None if scope is None or scope.trusted else scope


def check_thread() -> None:
    """Refuse to read by name or path in a thread that a running feature function may have started: nothing is cut in it.

    Raises:
        InvalidInput: a feature function runs in another thread, and this one is younger.
    """
    this = threading.current_thread()
    if _current.scope is None and any(this not in scope.earlier for scope in list(_open)):
        raise InvalidInput(
            "a table is read in a new thread while a feature function runs",
            hint="read tables in the function's own thread; what is not part of it: wait until it is done",
        )


@contextmanager
def trusted() -> Iterator[None]:
    """Let the engine itself be at work in this thread, wherever it is."""
    scope = _current.scope
    if scope is None:
        yield
        return
    with scope.trust():
        yield


def running_session() -> SparkSession | None:
    """The session of the feature function that this thread runs."""
    scope = _current.scope
    return None if scope is None else scope.session


@contextmanager
def scoped(scope: Scope) -> Iterator[None]:
    """Let the scope hold in this thread.

    Raises:
        InvalidState: another one holds already.
    """
    if _current.scope is not None:
        raise InvalidState(
            "feature code at one time was started inside feature code at another", hint="run them in turn"
        )
    for frame in scope.given.values():
        scope.guard.allow(frame)
    _current.scope = scope
    _open.append(scope)
    try:
        yield
    finally:
        _open.remove(scope)
        _current.scope = None


def refuse(what: str, hint: str) -> InvalidInput:
    """What a feature function may not do."""
    return InvalidInput(f"a feature function can't {what}", hint=hint)
