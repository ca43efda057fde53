"""Fails where a tracked file holds what doesn't belong into it, or where a source file is too long.

What doesn't belong: a package host, a place to download from, a path of somebody's machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 400

# Written in parts, or this file would be the first that is found.
HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("deb", "debian", "org"),
        ("crates", "io"),
        ("pytorch", "org"),
    ]
]
BREACHES = {
    "names a package registry": re.compile("|".join(rf"\b{re.escape(host)}\b" for host in HOSTS)),
    "names a place to download from": re.compile(
        r"https?://[^\s\"'<>)]+\.(?:whl|tar\.gz|tgz|tar\.xz|zip|deb|jar|exe)\b"
    ),
    "names a path of somebody's machine": re.compile(
        r"(?<![\w.])/(?:home|Users)/[a-z_][\w.-]*/|(?<![\w.])/" + r"root/|" + re.escape(str(ROOT) + "/")
    ),
}


def tracked() -> list[Path]:
    """The files that git knows, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def breaches(path: Path, text: str) -> Iterator[str]:
    """What is wrong with a file, a line for each."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for says, pattern in BREACHES.items():
            found = pattern.search(line)
            if found:
                yield f"{path}:{number}: {says}: {found.group()}"
    if path.parts[0] == "src" and len(lines) > MOST_LINES:
        yield f"{path}: has {len(lines)} lines, more than {MOST_LINES}: split it"


def main() -> int:
    """Check all tracked files; the number of the exit code is whether any breach was found."""
    found: list[str] = []
    for path in tracked():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += breaches(path, text)
    print("\n".join(found) if found else "check_tree: all clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
