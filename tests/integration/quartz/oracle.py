"""Quartz itself, asked by the thousand: one Java process for all questions."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_SOURCE = Path(__file__).with_name("QuartzOracle.java")
_JARS = (Path("/usr/share/java/quartz2.jar"), Path("/usr/share/java/slf4j-api.jar"))


@dataclass(frozen=True)
class Question:
    expression: str
    zone: str
    after: datetime


def missing() -> str:
    """What the oracle lacks; empty where it can be asked."""
    if not shutil.which("javac"):
        return "there is no Java compiler (Debian's default-jdk-headless)"
    return "" if all(jar.exists() for jar in _JARS) else "there is no Quartz (Debian's libquartz2-java)"


def ask(questions: Sequence[Question], fires: int, folder: Path) -> list[list[int] | str]:
    """For each question so many fires in seconds since 1970, or why Quartz refuses the expression."""
    path = ":".join(map(str, _JARS))
    subprocess.run(["javac", "-nowarn", "-cp", path, "-d", folder, _SOURCE], check=True, capture_output=True)
    lines = "".join(f"{q.expression}\t{q.zone}\t{int(q.after.timestamp())}\t{fires}\n" for q in questions)
    command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{path}:{folder}", "QuartzOracle"]
    told = subprocess.run(command, input=lines, text=True, check=True, capture_output=True).stdout.splitlines()
    return [_answer(line) for line in told]


def _answer(line: str) -> list[int] | str:
    kind, _, rest = line.partition(" ")
    return list(map(int, rest.split())) if kind == "fires" else rest
