"""docs/benchmarks.md: a section for each benchmark, in the place of the one that an earlier run wrote."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

_PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def put(name: str, section: str) -> None:
    """Put a section into the page, between marks of its name; at the end where there is none of that name yet."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text, marked = _PAGE.read_text(), f"{start}\n{section}\n{end}"
    if start in text:
        before, rest = text.split(start)
        text = before + marked + rest.split(end)[1]
    else:
        text = f"{text.rstrip()}\n\n{marked}\n"
    _PAGE.write_text(text)


def circumstances(packages: Sequence[str] = ()) -> str:
    """Date, machine and versions: what every figure depends on."""
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    machine = [f"{os.cpu_count()} cores", f"Python {platform.python_version()}"]
    return ", ".join([f"{dt.datetime.now(dt.UTC):%Y-%m-%d}", _processor(), *machine, *versions])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
