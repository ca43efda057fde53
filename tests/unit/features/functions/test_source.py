from __future__ import annotations

import datetime as dt
import linecache
import math
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Optional

import pytest

from millrace.core.errors import InvalidInput
from millrace.features.functions.source import define, load
from millrace.features.functions.store import feature_function
from millrace.features.types import Parameter

NAME = "ml.functions.f"
RATE = 0.5


def typed_in(text: str, name: str, **known: object) -> object:
    """A function as a notebook cell defines it."""
    file = f"<cell {hash(text)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = dict(known)
    exec(compile(text, file, "exec", dont_inherit=True), namespace)  # noqa: S102 - a test
    return namespace[name]


def days_between(first: date | None, last: datetime, scale: float = 2.0 * 3) -> float | None:
    """Days from one to the other."""
    from datetime import timedelta  # in its body, as everything that it needs

    if first is None:
        return None
    return (last.date() - first) / timedelta(days=1) * scale


def test_a_function_is_kept_as_text_with_its_types() -> None:
    made = define(NAME, days_between)
    assert (made.name, made.entry, made.returns, made.returns_null) == (NAME, "days_between", "float", True)
    assert made.parameters == (
        Parameter("first", "date", nullable=True, required=True),
        Parameter("last", "datetime", nullable=False, required=True),
        Parameter("scale", "float", nullable=False, required=False),
    )
    assert made.source.startswith("def days_between(")
    assert made.source.endswith("* scale\n")
    again = load(made.source, made.entry, made.name)
    assert again(date(2025, 1, 1), datetime(2025, 1, 3)) == 12.0  # noqa: DTZ001 - a test
    assert again(None, datetime(2025, 1, 3)) is None  # noqa: DTZ001 - a test
    assert load(made.source, made.entry, made.name) is again


def test_every_type_and_way_to_write_it() -> None:
    text = (
        "def all_types(a: float, b: int | None, c: Optional[str], d: bool, e: dt.date, f: 'datetime', g: None | Decimal)"
        " -> Decimal:\n    return g\n"
    )
    all_types = typed_in(text, "all_types", Optional=Optional, dt=dt, Decimal=Decimal)
    made = define("f", all_types)
    assert made.name == "default.f"
    assert [(each.type, each.nullable) for each in made.parameters] == [
        ("float", False),
        ("int", True),
        ("str", True),
        ("bool", False),
        ("date", False),
        ("datetime", False),
        ("Decimal", True),
    ]


def test_a_decorator_is_not_part_of_it_and_the_function_is_called_as_before() -> None:
    @feature_function("ml.functions.decorated")
    def doubled(x: float) -> float:
        """Twice as much.

        And more to say.
        """
        return 2 * x

    assert doubled(4.0) == 8.0
    assert doubled.description == "Twice as much."
    assert doubled.definition.source.startswith("def doubled(x: float) -> float:\n")


def test_what_python_offers_may_be_used_and_the_body_may_have_parts() -> None:
    def busy(x: float) -> float:
        class Box:
            size = 3
            more = size + 0

            def twice(self) -> int:
                return self.more * 2

        def inner(y: float) -> float:
            return sum(each * y for each in range(Box().twice())) + math.floor(y)

        import math

        return inner(x) if x > 0 else busy(-x)

    made = define(NAME, busy)
    assert load(made.source, made.entry, made.name)(-1.5) == 15 * 1.5 + 1


def comments_one(x: float) -> float:
    return x + 1  # one


def test_comments_and_layout_make_no_other_code_and_values_and_types_do() -> None:
    plain = define(NAME, comments_one).code_hash

    def code(text: str) -> str:
        return define(NAME, typed_in(text, "comments_one")).code_hash

    assert code("def comments_one(x: float) -> float:\n\n    return (x +\n        1)\n") == plain
    assert code("def comments_one(x: float) -> float:\n    return x + 2\n") != plain
    assert code("def comments_one(x: int) -> float:\n    return x + 1\n") != plain


def outside(x: float) -> float:
    return x * RATE + math.sqrt(x)


def shadowed(x: float) -> float:
    return abs(x)


def remembers(x: float) -> float:
    global RATE  # noqa: PLW0603 - a test
    RATE = x
    return x


def other_type(x: list[float]) -> float:
    return x[0]


def two_types(x: float | str) -> float:
    return float(x)


def gives_nothing(x: float) -> None:
    del x


def stars(*x: float) -> float:
    return x[0]


def named_only(*, x: float) -> float:
    return x


def nothing() -> float:
    return 1.0


def generates(x: float) -> Any:
    yield x


def default_outside(x: float, y: float = RATE) -> float:
    return x + y


def unknown_type(x: Nowhere) -> float:  # type: ignore[name-defined]  # noqa: F821 - a test
    return float(x)


async def waits(x: float) -> float:
    return x


def around(rate: float) -> Callable[[float], float]:
    def inner(x: float) -> float:
        return x * rate

    return inner


def wrapped(f: Callable[..., float]) -> Callable[..., float]:
    return f


@wrapped
def decorated(x: float) -> float:
    return x


REFUSED: dict[str, tuple[object, str, str]] = {
    "names from outside": (outside, "uses 'RATE', 'math' from outside itself", "import modules inside its body"),
    "a default from outside": (default_outside, "uses 'RATE' from outside itself", "write constants"),
    "of the function around it": (around(2.0), "uses 'rate' of the function around it", "make it a parameter"),
    "a global that it writes": (remembers, "changes the global 'RATE'", "return a value"),
    "a lambda": (lambda x: x, "a lambda is not a Python function", "def"),
    "a class": (float, "a type is not a Python function", "def"),
    "built in": (math.sqrt, "a builtin_function_or_method is not", "def"),
    "no annotation": (
        typed_in("def bare(x):\n    return x\n", "bare"),
        "parameter 'x' of function ml.functions.f has no annotation",
        "float, int, str",
    ),
    "no result type": (
        typed_in("def half(x: float):\n    return x\n", "half"),
        "the result of function ml.functions.f has no annotation",
        "float, int, str",
    ),
    "a result that is nothing": (gives_nothing, "the result of function ml.functions.f", "float, int, str"),
    "a list": (other_type, "is annotated list[float]", "float, int, str"),
    "two types": (two_types, "is annotated float | str", "float, int, str"),
    "a type that is not there": (unknown_type, "can't be read: name 'Nowhere' is not defined", "float, int, str"),
    "stars": (stars, "parameter 'x' is not a plain one", "leave *"),
    "by name only": (named_only, "parameter 'x' is not a plain one", "leave *"),
    "no parameters": (nothing, "has no parameters", "columns"),
    "a generator": (generates, "is a generator", "return one value"),
    "async": (waits, "is not a plain def", "async"),
    "another decorator": (decorated, "has a decorator 'wrapped'", "in its body"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_complete_in_itself_is_refused_with_a_hint(case: str) -> None:
    function, message, hint = REFUSED[case]
    with pytest.raises(InvalidInput) as refused:
        define(NAME, function)
    assert message in refused.value.message
    assert hint in refused.value.hint


def test_a_builtin_that_the_module_replaced_is_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    define(NAME, shadowed)
    monkeypatch.setitem(shadowed.__globals__, "abs", lambda _: 0.0)
    with pytest.raises(InvalidInput, match="uses 'abs' from outside itself"):
        define(NAME, shadowed)


def test_a_function_without_source_is_refused() -> None:
    namespace: dict[str, Any] = {}
    exec("def typed(x: float) -> float:\n    return x\n", namespace)  # noqa: S102 - a test
    with pytest.raises(InvalidInput, match="the source of function") as refused:
        define(NAME, namespace["typed"])
    assert "in a file or a notebook cell" in refused.value.hint


def test_a_name_that_is_none() -> None:
    with pytest.raises(InvalidInput, match="'no name' is not a function name"):
        define("no name", days_between)


def test_a_decorator_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has no name"):
        feature_function(days_between)  # type: ignore[arg-type]
