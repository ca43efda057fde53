"""Where feature functions and named feature specs are kept, and how a function's name finds its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace.core.errors import InvalidInput
from millrace.features.functions.compiled import FunctionFinder
from millrace.features.functions.source import define, function_name
from millrace.features.types import FeatureSpec, FunctionDefinition, FunctionVersion, NamedFeatureSpec


class FunctionStore(Protocol):
    """Registered functions. Thread- and process-safe; what `save` returned is durable, and its code never changes."""

    def save(self, definition: FunctionDefinition, description: str = "") -> FunctionVersion:
        """The newest version, where it has the same code (its description is brought up to date), else a new one."""
        ...

    def find(self, name: str) -> FunctionVersion | None:
        """The newest version of a function; None where there is none of that name."""
        ...

    def get(self, name: str, version: int | None = None) -> FunctionVersion:
        """A version of a function, the newest where None. Raises NotFound, with the nearest name."""
        ...

    def list(self) -> Sequence[FunctionVersion]:
        """The newest version of each function, by name."""
        ...

    def versions(self, name: str) -> Sequence[FunctionVersion]:
        """All versions of a function, oldest first. Raises NotFound."""
        ...

    def delete(self, name: str) -> None:
        """Forget a function. Models and specs that carry it keep their copy. Raises NotFound."""
        ...


class FeatureSpecStore(Protocol):
    """Named feature specs. Thread- and process-safe, durable when a call returns."""

    def add(self, name: str, spec: FeatureSpec, description: str) -> NamedFeatureSpec:
        """Keep a spec under a new name. Raises AlreadyExists."""
        ...

    def update(
        self, name: str, *, spec: FeatureSpec | None = None, description: str | None = None, owner: str | None = None
    ) -> NamedFeatureSpec:
        """Replace what is given. Raises NotFound."""
        ...

    def get(self, name: str) -> NamedFeatureSpec:
        """The spec of that name. Raises NotFound, with the nearest name."""
        ...

    def list(self) -> Sequence[NamedFeatureSpec]:
        """All, by name."""
        ...

    def delete(self, name: str) -> None:
        """Forget a spec. Raises NotFound."""
        ...


@dataclass(frozen=True)
class DeclaredFunction:
    """A function with `@feature_function`: called as before, and known by its name in this process."""

    function: Callable[..., object]
    definition: FunctionDefinition
    description: str

    def __call__(self, *values: object, **named: object) -> object:
        """What the function says; nulls and types are only looked after where it computes a feature."""
        return self.function(*values, **named)


_declared: dict[str, DeclaredFunction] = {}


def feature_function(name: str) -> Callable[[Callable[..., object]], DeclaredFunction]:
    """Make a feature function of a Python function with annotated parameters and result.

    Types are `float, int, str, bool, date, datetime, Decimal`, each may be `| None`. A parameter without `| None` that
    gets null makes the result null without a call. The source is kept with every model that uses it, so it has to be
    complete in itself: modules are imported inside its body. It should give the same answer for the same values, always:
    nothing stops it from reading a file or the clock, but then training and serving would differ.

    The first use writes it into the home; other code under the same name is a new version. In a process, what was
    declared last counts.

    Raises:
        InvalidInput: it is not complete in itself, or not annotated so, or no name is given.
    """
    if not isinstance(name, str):
        raise InvalidInput("the feature function has no name", hint='write @feature_function("ml.functions.name")')

    def declare(function: Callable[..., object]) -> DeclaredFunction:
        made = DeclaredFunction(function, define(name, function), summary(function))
        _declared[made.definition.name] = made
        return made

    return declare


def create_function(
    store: FunctionStore, name: str, function: object, description: str | None = None
) -> FunctionVersion:
    """Keep a function, declared or plain, under a name; the newest version where it has this code.

    Raises:
        InvalidInput: as `feature_function`.
    """
    plain = function.function if isinstance(function, DeclaredFunction) else function
    definition = define(name, plain)
    declared = _declared.get(definition.name)
    if declared is not None and declared.definition != definition:
        del _declared[definition.name]  # what is made last counts
    return store.save(definition, summary(plain) if description is None else description)


def finder(store: FunctionStore) -> FunctionFinder:
    """Finds functions by name: declared in this process, and then written into the home, or there already."""

    def find(name: str) -> FunctionVersion:
        declared = _declared.get(function_name(name))
        return store.save(declared.definition, declared.description) if declared else store.get(function_name(name))

    return find


def code_hash(store: FunctionStore, name: str) -> str:
    """Hash of the code that `finder` would find; writes nothing. Raises NotFound."""
    declared = _declared.get(function_name(name))
    return declared.definition.code_hash if declared else store.get(function_name(name)).definition.code_hash


def summary(function: object) -> str:
    """The first line of a function's docstring."""
    return (getattr(function, "__doc__", None) or "").strip().split("\n")[0]
