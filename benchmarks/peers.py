"""What benchmarks compare with: other packages, as they were locked, each in a virtual environment of its own under .bench/.

`python benchmarks/peers.py NAME` makes one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".bench"


def made(name: str) -> Path:
    """The environment of `requirements/bench-{name}.txt`; made once, and again where that file changed.

    Raises:
        CalledProcessError: it could not be installed; what pip's stand-in said is on standard error.
    """
    place, locked = FOLDER / name, ROOT / "requirements" / f"bench-{name}.txt"
    done = place / ".made"
    if done.exists() and done.read_text() == locked.read_text():
        return place
    print(f"installing requirements/{locked.name} into .bench/{name}", flush=True)
    uv = str(Path(sys.executable).with_name("uv"))
    mirror = os.environ.get("PIP_INDEX_URL")  # uv has a name of its own for it
    environment = {**({"UV_DEFAULT_INDEX": mirror} if mirror else {}), **os.environ}
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
    # All that is needed is locked: what was left out on purpose is not asked for again.
    install = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--compile-bytecode",
        "-r",
        str(locked),
    ]
    subprocess.run([*install, "--python", str(place / "bin" / "python")], check=True, env=environment)
    done.write_text(locked.read_text())
    return place


def versions(environment: Path, packages: Sequence[str]) -> Mapping[str, str]:
    """What is installed there."""
    code = f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {[*packages]}}}))"
    python = str(environment / "bin" / "python")
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(told.stdout)
    return found


if __name__ == "__main__":
    for each in sys.argv[1:]:
        made(each)
