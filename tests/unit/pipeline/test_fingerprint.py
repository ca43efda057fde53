from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from millrace.pipeline.fingerprint import code_of, fingerprint

PAGE = '''
from datetime import timedelta
import math

DAYS = 30
NAMES = frozenset({"north", "south", "east", "west"})
GROUPS = {"a": ["x", "y"], "b": ("z", 1.5)}
UNUSED = 1
THINGS = [object()]


def helper(value):
    """Half."""
    return value / 2


def deeper(value):
    return helper(value)


def features(as_of, days=DAYS):
    """What was known."""
    inner = lambda n: deeper(n) + math.sqrt(DAYS)
    return [inner(as_of), NAMES, GROUPS, THINGS, timedelta(days=days)]
'''


def loaded(folder: Path, text: str) -> ModuleType:
    file = folder / "page.py"
    file.write_text(text)
    # A module of the same second and size would be taken from its cache.
    spec = importlib.util.spec_from_file_location(f"page_{abs(hash(text))}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 - the page of this test
    import linecache

    linecache.checkcache(str(file))
    return module


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], str]:
    return lambda text: code_of(loaded(tmp_path, text).features)


def test_the_same_code_has_the_same_hash_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(PAGE)
    program = "import page; from millrace.pipeline.fingerprint import fingerprint as f; print(f(page.features, {'b': 1, 'a': 2}))"
    found = set()
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return value / 2", "return value / 2  # halved"),
        ("return value / 2", "return (\n        value\n        / 2\n    )"),
        ("    return deeper", "\n    # a comment\n    return deeper"),
        ("UNUSED = 1", "UNUSED = 2"),
        ("UNUSED = 1", "UNUSED = 1\n\n\ndef unused():\n    return 2"),
    ],
)
def test_comments_layout_and_what_is_not_used_do_not_matter(code: Callable[[str], str], old: str, new: str) -> None:
    assert code(PAGE.replace(old, new)) == code(PAGE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return [inner(as_of)", "return [inner(as_of + 1)"),
        ("return value / 2", "return value / 3"),
        ("DAYS = 30", "DAYS = 31"),
        ('"west"', '"centre"'),
        ('("z", 1.5)', '("z", 1.25)'),
        ("math.sqrt", "math.exp"),
        ("days=DAYS", "days=DAYS + 1"),
    ],
)
def test_code_helpers_and_constants_matter(code: Callable[[str], str], old: str, new: str) -> None:
    assert old in PAGE
    assert code(PAGE.replace(old, new)) != code(PAGE)


def test_a_constant_that_is_only_a_default_matters(code: Callable[[str], str]) -> None:
    page = "DAYS = 30\n\n\ndef features(as_of, days=DAYS, *, weeks=DAYS):\n    return days, weeks\n"
    assert code(page) == code(page)
    assert code(page.replace("30", "31")) != code(page)


def test_what_a_factory_has_bound_matters(code: Callable[[str], str]) -> None:
    page = (
        "def made(days, half):\n    def features(as_of):\n        return half(days)\n    return features\n\n\n"
        "def half(n):\n    return n / 2\n\n\nfeatures = made(30, half)\n"
    )
    assert code(page.replace("made(30", "made(31")) != code(page)
    assert code(page.replace("n / 2", "n / 4")) != code(page)


def test_two_helpers_of_one_name_are_two(code: Callable[[str], str]) -> None:
    page = "first = lambda n: n + 1\n\n\nsecond = lambda n: n + 2\n\n\ndef features(as_of):\n    return first(second(as_of))\n"
    assert code(page.replace("n + 2", "n + 3")) != code(page)
    assert code(page.replace("n + 1", "n + 3")) != code(page)


def test_a_function_that_names_itself_ends(code: Callable[[str], str]) -> None:
    page = "def features(as_of):\n    return features(as_of - 1) if as_of else 0\n"
    assert "features" in code(page)


def test_modules_that_are_built_into_python_count_by_name(code: Callable[[str], str]) -> None:
    page = "import sys\nimport time\n\n\ndef features(as_of):\n    return sys.maxsize, time.gmtime(as_of)\n"
    assert not hasattr(sys, "__file__")
    assert code(page) == code(page)
    assert code(page.replace("time.gmtime", "time.localtime")) != code(page)


CALLABLES = """
import functools
from millrace.pipeline.fingerprint import fingerprint

def fit(data, depth=1):
    return depth

class Trainer:
    def __init__(self, depth):
        self.depth, self.cache = depth, object()
    def fit(self, data):
        return self.depth
    def __call__(self, data):
        return self.depth

made = {
    "partial": functools.partial(fit, depth=3),
    "method": Trainer(3).fit,
    "object": Trainer(3),
    "cached": functools.lru_cache(fit),
}
print({name: fingerprint(value) for name, value in made.items()})
"""


def test_whatever_can_be_called_is_the_same_in_every_process_and_counts_by_what_it_does(tmp_path: Path) -> None:
    def found(text: str) -> dict[str, str]:
        (tmp_path / "made.py").write_text(text)
        done = subprocess.run([sys.executable, "made.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
        return dict(ast.literal_eval(done.stdout))

    first = found(CALLABLES)
    assert found("import decimal, uuid\n" + CALLABLES) == first  # other addresses
    deeper = found(CALLABLES.replace("depth=3", "depth=4").replace("Trainer(3)", "Trainer(4)"))
    assert {name for name in first if deeper[name] != first[name]} == {"partial", "method", "object"}
    other = found(CALLABLES.replace("return depth", "return depth + 1").replace("self.depth\n", "self.depth + 1\n"))
    assert {name for name in first if other[name] != first[name]} == set(first)


def test_functions_without_a_file_count_too() -> None:
    space: dict[str, Callable[[], int]] = {}
    exec("def one():\n    return 1\ndef two():\n    return 2\ndef uno():\n    return 1", space)  # noqa: S102 - as typed at a prompt
    assert code_of(space["one"]) != code_of(space["two"])


def test_helpers_in_files_beside_it_count_and_libraries_do_not(tmp_path: Path) -> None:
    package = f"beside{tmp_path.name.replace('-', '_')}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "recency.py").write_text("LIMIT = 3\n\n\ndef recency(n):\n    return n + 1\n")
    (tmp_path / package / "__init__.py").write_text("")
    page = (
        f"from statistics import mean\n\nfrom {package} import recency as how\nfrom {package}.recency import recency\n\n\n"
        "def features(as_of):\n    return mean([recency(as_of), how.LIMIT])\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        text = code_of(loaded(tmp_path, page).features)
    finally:
        sys.path.remove(str(tmp_path))
    assert "how.LIMIT=3" in text
    assert text.count("FunctionDef") == 2


@dataclass(frozen=True)
class Point:
    x: int
    more: object = None


@dataclass(frozen=True)
class Spot:
    x: int
    more: object = None


def test_values_count_by_value() -> None:
    assert fingerprint(Point(1, {"b": [1], "a": (2,)})) == fingerprint(Point(1, {"a": [2], "b": (1,)}))
    assert fingerprint(Point(1)) != fingerprint(Point(2))
    assert fingerprint(Point(1)) != fingerprint(Spot(1))
    assert fingerprint("a", "b") != fingerprint("ab")
    assert fingerprint(1) != fingerprint("1")
    assert fingerprint([1, 2]) != fingerprint([2, 1])
    assert fingerprint(None) != fingerprint("")
    assert fingerprint(frozenset({"a"})) == fingerprint(frozenset(["a"]))


USED = {
    "a class's method": ("class R:\n    def rate(self, n):\n        return n * 2\n", "R().rate(1)", "n * 2", "n * 3"),
    "what it inherits": ("class B:\n    def m(self):\n        return 1\nclass R(B):\n    pass\n", "R().m()", "return 1", "return 2"),
    "a class's constant": ("class R:\n    LIMIT = 2\n", "R.LIMIT", "= 2", "= 3"),
    "a static method": ("class R:\n    @staticmethod\n    def m(n):\n        return n\n", "R.m(1)", "return n", "return -n"),
    "an object": ("class R:\n    def __init__(self, k):\n        self.k = k\nX = R(2)\n", "X.k", "R(2)", "R(3)"),
    "an enum": ("import enum\nclass R(enum.Enum):\n    A = 2\n", "R.A", "= 2", "= 3"),
    "a cached helper": ("import functools\n@functools.cache\ndef g(n):\n    return n * 2\n", "g(1)", "n * 2", "n * 3"),
    "a decorator": (
        ("import functools\ndef d(f):\n    @functools.wraps(f)\n    def inner(n):\n        return f(n) + 1\n    return inner\n"
        "@d\ndef g(n):\n    return n\n"),
        "g(1)",
        "+ 1",
        "+ 2",
    ),
    "a partial's argument": ("import functools\ndef h(n, k):\n    return n\ng = functools.partial(h, k=2)\n", "g(1)", "k=2", "k=3"),
    "functions in a dict": ("def a(n):\n    return n + 1\nD = {'a': [a]}\n", "D['a']", "n + 1", "n + 2"),
    "a column": ("from pyspark.sql import functions as F\nBIG = [F.col('amount') > 100]\n", "BIG", "> 100", "> 200"),
    "a pattern": ("import re\nP = re.compile('a+')\n", "P", "a+", "b+"),
}  # fmt: skip


@pytest.mark.parametrize("what", USED)
def test_whatever_a_function_leads_to_matters(code: Callable[[str], str], what: str) -> None:
    given, use, old, new = USED[what]
    page = f"{given}\n\ndef features(as_of):\n    return {use}\n"
    assert code(page) == code(page)
    assert code(page.replace(old, new)) != code(page)


def test_what_a_library_wraps_around_a_function_counts_by_that_function(code: Callable[[str], str]) -> None:
    page = (
        "from pyspark.sql import functions as F, types as T\n\nK = 2\n\n\n@F.udf(T.LongType())\ndef double(n):\n    return n * K\n\n\n"
        "def features(as_of):\n    return double('n')\n"
    )
    assert "K=2" in code(page)
    assert code(page).count("FunctionDef") == 2
